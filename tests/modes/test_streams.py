"""Calls of generators: items in order, errors in between, and producers that stop."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from meshgen.errors import (
    BlockingCallError,
    GeneratorMismatchError,
    RequestCancelledError,
    SerializationError,
)
from meshgen.objectref import ObjectRef
from meshgen.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from meshgen.testing import Mode, run_app
from tests.apps.streams import app

pytestmark = pytest.mark.asyncio(loop_scope="module")

KINDS = ["sync_generator", "async_generator", "returns_generator", "returns_async_generator"]
Stop = Callable[[DeploymentResponseGenerator[Any]], Awaitable[None]]
# A thread makes 256 items at a time; one that nobody holds back makes as many again and again.
FAR_AHEAD = 1000
_tags = map("call {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def relay(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/streams.py, which passes streams on."""
    async with run_app(app, mode=mode) as handle:
        yield handle.options(stream=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(relay: DeploymentHandle) -> DeploymentHandle:
    """The deployment that has generators of every kind; streaming."""
    found: DeploymentHandle = (await relay.options(stream=False).all.remote())["source"]
    return found.options(stream=True)


async def _noted(source: DeploymentHandle, event: str) -> bool:
    """Whether the source noted an event within ten seconds."""
    happened: bool = await source.options(stream=False).until.remote(event, 10.0)
    return happened


async def _list(stream: DeploymentResponseGenerator[Any]) -> list[Any]:
    return [item async for item in stream]


@pytest.mark.parametrize("kind", KINDS)
async def test_generators_of_every_kind_stream(source: DeploymentHandle, kind: str) -> None:
    """By `async for` in a loop, and by `for` in a thread without one."""
    method = source.options(method_name=kind)
    assert await _list(method.remote(5)) == [0, 1, 2, 3, 4]
    assert await asyncio.to_thread(lambda: list(method.remote(5))) == [0, 1, 2, 3, 4]
    assert await _list(method.remote(0)) == []


async def test_a_generator_function_is_a_deployment(relay: DeploymentHandle) -> None:
    """Functions stream as methods do."""
    handle = (await relay.options(stream=False).all.remote())["count"]
    assert await _list(handle.options(stream=True).remote(3)) == [0, 1, 2]


@pytest.mark.parametrize("kind", ["sync_generator", "async_generator", "pauses"])
async def test_every_item_arrives_once_and_in_order(source: DeploymentHandle, kind: str) -> None:
    """However they were put together into messages."""
    count = 20_000
    assert await _list(source.options(method_name=kind).remote(count)) == list(range(count))


async def test_concurrent_streams_do_not_mix(source: DeploymentHandle) -> None:
    """Each has its own items."""
    streams = [_list(source.pauses.remote(count)) for count in range(40)]
    assert await asyncio.gather(*streams) == [list(range(count)) for count in range(40)]


@pytest.mark.parametrize("method", ["relay", "relay_sync"])
async def test_streams_pass_through_a_deployment_in_between(
    relay: DeploymentHandle, method: str
) -> None:
    """N items in are N items out, at every hop."""
    stream = relay.options(method_name=method).remote("pauses", 2_000)
    assert await _list(stream) == list(range(2_000))


@pytest.mark.parametrize("method", ["fails_after", "fails_async_after"])
@pytest.mark.parametrize("count", [0, 3, 3_000])
async def test_an_error_comes_after_the_items_before_it(
    source: DeploymentHandle, method: str, count: int
) -> None:
    """With its own type; then the stream is exhausted."""
    stream = source.options(method_name=method).remote(count)
    items = []
    with pytest.raises(LookupError, match=f"after {count}"):
        async for item in stream:
            items.append(item)
    assert items == list(range(count))
    assert await _list(stream) == []


async def test_an_error_passes_through_a_deployment_in_between(relay: DeploymentHandle) -> None:
    """As the same error, after the same items."""
    stream = relay.relay.remote("fails_after", 2)
    assert [await anext(stream), await anext(stream)] == [0, 1]
    with pytest.raises(LookupError, match="after 2"):
        await anext(stream)


async def test_large_items_arrive_whole(source: DeploymentHandle) -> None:
    """Items of several megabytes, beyond what one message holds."""
    number = -1
    async for number, block in _enumerated(source.blocks.remote(3_000_000, 4)):
        assert block.nbytes == 3_000_000
        assert set(block[::100_000]) == {number}
    assert number == 3


async def _enumerated(stream: AsyncIterator[Any]) -> AsyncIterator[tuple[int, Any]]:
    number = 0
    async for item in stream:
        yield number, item
        number += 1


@pytest.mark.parametrize("method", ["endless", "endless_sync", "first_then_wait"])
async def test_break_stops_the_producer(source: DeploymentHandle, method: str) -> None:
    """A stream that nobody holds any more ends over there, at once."""
    tag = next(_tags)
    async for _ in source.options(method_name=method).remote(tag):
        break
    event = f"{tag} cancelled" if method == "first_then_wait" else f"{tag} stopped"
    assert await _noted(source, event)


async def test_break_in_a_thread_stops_the_producer(source: DeploymentHandle) -> None:
    """`for` is no different."""
    tag = next(_tags)

    def take_one() -> None:
        for _ in source.endless.remote(tag):
            break

    await asyncio.to_thread(take_one)
    assert await _noted(source, f"{tag} stopped")


async def test_break_is_felt_two_hops_away(relay: DeploymentHandle, source: Any) -> None:
    """The deployment in between stops, and so does what it consumes."""
    tag = next(_tags)
    async for _ in relay.relay.remote("endless", tag):
        break
    assert await _noted(source, f"{tag} stopped")


async def test_a_unary_call_that_takes_one_item_stops_the_rest(
    relay: DeploymentHandle, source: DeploymentHandle
) -> None:
    """`return` from within `async for` drops the stream."""
    tag = next(_tags)
    assert await relay.options(stream=False).first_of.remote("endless", tag) == 0
    assert await _noted(source, f"{tag} stopped")


async def _breaks(stream: DeploymentResponseGenerator[Any]) -> None:
    async for _ in stream:
        break


async def _breaks_in_a_thread(stream: DeploymentResponseGenerator[Any]) -> None:
    def take_one(given: list[DeploymentResponseGenerator[Any]]) -> None:
        for _ in given.pop():
            break

    await asyncio.to_thread(take_one, [stream])


async def _cancels(stream: DeploymentResponseGenerator[Any]) -> None:
    await anext(stream)
    stream.cancel()


async def _cancels_the_task(stream: DeploymentResponseGenerator[Any]) -> None:
    task = asyncio.create_task(_list(stream))
    await anext(stream)
    task.cancel()
    await asyncio.wait((task,))


async def _drops(stream: DeploymentResponseGenerator[Any]) -> None:
    await anext(stream)


async def _drops_its_references(stream: DeploymentResponseGenerator[Any]) -> None:
    await anext(await stream._to_object_ref_gen())


@pytest.mark.parametrize("method", ["endless", "first_then_waits"])
@pytest.mark.parametrize(
    "stop",
    [_breaks, _breaks_in_a_thread, _cancels, _cancels_the_task, _drops, _drops_its_references],
)
async def test_who_stops_consuming_stops_the_producer_at_once(
    source: DeploymentHandle, method: str, stop: Stop
) -> None:
    """Its `finally` has run within 100 ms: at best of five, since machines pause at times."""
    delays = []
    for _ in range(5):
        tag = next(_tags)
        await stop(source.options(method_name=method).remote(tag))
        stopped_at = time.monotonic()
        event = source.options(stream=False).time_of.remote(f"{tag} stopped", 10.0)
        delays.append(await event - stopped_at)
    assert min(delays) < 0.1


async def test_a_stream_that_is_never_consumed_stops_when_it_is_dropped(
    source: DeploymentHandle,
) -> None:
    """Before its first item, and after; large ones that nobody came for included."""
    for method in ("waits_at_once", "endless", "endless_sync"):
        tag = next(_tags)
        stream = source.options(method_name=method).remote(tag)
        event = "began" if method == "waits_at_once" else "item"
        assert await _noted(source, f"{tag} {event}")
        del stream
        assert await _noted(source, f"{tag} stopped")


@pytest.mark.parametrize("method", ["sync_generator", "pauses"])
async def test_references_to_the_items_arrive_one_by_one(
    source: DeploymentHandle, method: str
) -> None:
    """Each resolves to its item, here or as an argument; in a loop and in a thread."""
    method_handle = source.options(method_name=method)
    references = [ref async for ref in await method_handle.remote(3)._to_object_ref_gen()]
    assert all(isinstance(ref, ObjectRef) for ref in references)
    assert [await ref for ref in references] == [0, 1, 2]
    assert await source.options(stream=False).echo.remote(references[1]) == 1
    stream = method_handle.remote(2_000)
    blocking = await asyncio.to_thread(lambda: list(stream._to_object_ref_gen_sync()))
    assert [await ref for ref in blocking] == list(range(2_000))


async def test_references_fail_where_the_stream_does(source: DeploymentHandle) -> None:
    """After the items before; a blocking iteration is refused in a loop."""
    references = await source.fails_after.remote(1)._to_object_ref_gen()
    assert await (await anext(references)) == 0
    with pytest.raises(LookupError, match="after 1"):
        await anext(references)
    with pytest.raises(BlockingCallError, match=r"await response._to_object_ref_gen\(\)"):
        source.pauses.remote(1)._to_object_ref_gen_sync()
    with pytest.raises(BlockingCallError, match="async for item in response"):
        next(await source.pauses.remote(1)._to_object_ref_gen())
    with pytest.raises(SerializationError, match="pass on the references"):
        source.options(stream=False).echo.remote(references)


async def test_cancel_ends_a_stream_for_both(source: DeploymentHandle) -> None:
    """The consumer is told, the producer is cancelled where it waits."""
    tag = next(_tags)
    stream = source.first_then_wait.remote(tag)
    assert await anext(stream) == "first"
    stream.cancel()
    stream.cancel()
    assert stream.cancelled()
    with pytest.raises(RequestCancelledError):
        await anext(stream)
    assert await _noted(source, f"{tag} cancelled")


async def test_a_slow_consumer_holds_the_producer_back(source: DeploymentHandle) -> None:
    """Endless items of 100 kB do not pile up on either side."""
    tag = next(_tags)
    stream = source.endless_sync.remote(tag)
    for _ in range(3):
        assert len(await anext(stream)) == 100_000
    made = await made_in_the_end(source.options(stream=False), tag)
    stream.cancel()
    assert 3 <= made < FAR_AHEAD


async def made_in_the_end(unary: DeploymentHandle, tag: str) -> int:
    """How many items `endless_sync` has made when it makes no more, or too many."""
    before, made = -1, 0
    while before < made < FAR_AHEAD:
        for _ in range(20):
            await unary.unary.remote()
        before, made = made, (await unary.noted.remote()).count(f"{tag} item")
    return made


async def test_unary_and_streaming_calls_are_told_apart(source: DeploymentHandle) -> None:
    """Where the stub knows, at `.remote()`; where only the method knows, at its result."""
    unary = source.options(stream=False)
    with pytest.raises(GeneratorMismatchError, match=r"options\(stream=True\).sync_generator"):
        unary.sync_generator.remote(1)
    with pytest.raises(GeneratorMismatchError, match=r"options\(stream=True\).returns_generator"):
        await unary.returns_generator.remote(1)
    with pytest.raises(TypeError, match="called with stream=True but returned int"):
        await anext(source.unary.remote())


async def test_a_stream_is_neither_awaited_nor_passed_on(source: DeploymentHandle) -> None:
    """It has no single value."""
    stream = source.sync_generator.remote(1)
    with pytest.raises(GeneratorMismatchError, match="use `async for item in response`"):
        await stream
    with pytest.raises(GeneratorMismatchError, match=r"has no result\(\)"):
        stream.result()
    with pytest.raises(SerializationError, match="compose_streams=True"):
        source.sync_generator.remote(stream)
    with pytest.raises(BlockingCallError, match="async for item in response"):
        next(stream)


async def test_an_unpicklable_item_is_an_error_after_those_before_it(
    source: DeploymentHandle,
) -> None:
    """The items before it are not lost."""
    stream = source.unpicklable_item.remote()
    assert await anext(stream) == 1
    with pytest.raises(SerializationError, match="a value of type lock cannot be pickled"):
        await anext(stream)


async def test_a_stream_is_consumed_by_a_loop_of_another_thread(source: DeploymentHandle) -> None:
    """Wherever the items are wanted, they come."""
    stream = source.pauses.remote(100)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.extend(asyncio.run(_list(stream))))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert found == list(range(100))
