"""Streams that are passed to another call: who may, what arrives, and what stops the producer."""

from __future__ import annotations

import itertools
import pickle
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import pytest_asyncio

from meshgen.errors import DeadlineError, RequestCancelledError, SerializationError
from meshgen.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from meshgen.testing import Mode, run_app
from tests.apps.composed import app
from tests.modes.test_streams import FAR_AHEAD, made_in_the_end

pytestmark = pytest.mark.asyncio(loop_scope="module")

_tags = map("call {}".format, itertools.count())
# Machines pause at times: of so many, one must be quick.
_TRIES = 5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ingress(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/composed.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def source(ingress: DeploymentHandle) -> DeploymentHandle:
    """The deployment whose generators are read; streaming."""
    found: DeploymentHandle = (await ingress.all.remote())["source"]
    return found.options(stream=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sink(ingress: DeploymentHandle) -> DeploymentHandle:
    """The deployment that reads what it is passed."""
    found: DeploymentHandle = (await ingress.all.remote())["sink"]
    return found.options(compose_streams=True)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fragile(ingress: DeploymentHandle) -> DeploymentHandle:
    """The deployment whose process ends at a call."""
    found: DeploymentHandle = (await ingress.all.remote())["fragile"]
    return found


async def _list(stream: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in stream]


async def _stopped_at(source: DeploymentHandle, tag: str) -> float:
    unary = source.options(stream=False)
    at: float = await unary.time_of.remote(f"{tag} stopped", 10.0)
    return at


async def _quickest(
    source: DeploymentHandle, stop: Callable[[DeploymentResponseGenerator[Any]], Awaitable[float]]
) -> float:
    """Seconds from the time that `stop` gives to the producer's `finally`, at best."""
    delays = []
    for _ in range(_TRIES):
        tag = next(_tags)
        left_at = await stop(source.endless.remote(tag))
        delays.append(await _stopped_at(source, tag) - left_at)
    return min(delays)


@pytest.mark.parametrize("reader", ["all", "all_sync"])
@pytest.mark.parametrize("method", ["sync_generator", "async_generator", "pauses"])
@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_a_call_reads_the_stream_that_it_is_passed(
    source: DeploymentHandle, sink: DeploymentHandle, method: str, reader: str, count: int
) -> None:
    """By `async for` and by `for`; every item, in order."""
    stream = source.options(method_name=method).remote(count)
    assert await sink.options(method_name=reader).remote(stream) == list(range(count))


@pytest.mark.parametrize("reader", ["doubled", "doubled_sync"])
async def test_generators_make_a_pipeline(
    source: DeploymentHandle, sink: DeploymentHandle, reader: str
) -> None:
    """A generator reads a stream and is read itself, by a caller or by the next call."""
    stage = sink.options(stream=True, method_name=reader)
    doubled = stage.remote(source.pauses.remote(3_000))
    assert await _list(doubled) == list(range(0, 6_000, 2))
    twice = stage.remote(stage.remote(source.pauses.remote(3_000)))
    assert await sink.all.remote(twice) == list(range(0, 12_000, 4))


async def test_streams_arrive_by_keyword_and_inside_of_other_arguments(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Wherever pickling finds them; the same one twice is one."""
    assert await sink.all.remote(stream=source.pauses.remote(7)) == list(range(7))
    streams = [source.pauses.remote(count) for count in (3_000, 0, 2)]
    expected = [list(range(3_000)), [], [0, 1]]
    assert await sink.all_of_each.remote(streams) == expected
    twice = [source.pauses.remote(3)] * 2
    assert await sink.all_of_each.remote(twice) == [[0, 1, 2], []]


@pytest.mark.parametrize("count", [1, 4])
async def test_large_items_arrive_whole(
    source: DeploymentHandle, sink: DeploymentHandle, count: int
) -> None:
    """Fetched by who reads them."""
    assert await sink.sizes.remote(source.blocks.remote(3_000_000, count)) == [3_000_000] * count


async def test_a_deployment_composes_too(ingress: DeploymentHandle) -> None:
    """Handles inside of a deployment are no different."""
    assert await ingress.compose.remote("pauses", "all", 3_000) == list(range(3_000))


async def test_a_stream_that_arrived_is_passed_on(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """As long as nobody has begun to read it."""
    assert await sink.passes_on.remote(source.pauses.remote(3_000)) == list(range(3_000))
    with pytest.raises(SerializationError, match="items were taken"):
        await sink.passes_on_too_late.remote(source.pauses.remote(3_000))


@pytest.mark.parametrize("count", [0, 3, 3_000])
@pytest.mark.parametrize("method", ["fails_after", "fails_async_after"])
async def test_the_producers_error_comes_after_the_items_before_it(
    source: DeploymentHandle, sink: DeploymentHandle, method: str, count: int
) -> None:
    """To the reader, as itself: also where it is the first thing that the stream gives."""
    stream = source.options(method_name=method).remote(count)
    items, error = await sink.items_before_error.remote(stream)
    assert items == list(range(count))
    assert error == f"LookupError: after {count}"


async def test_a_slow_reader_holds_the_producer_back(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Endless items of 100 kB do not pile up on either side."""
    tag = next(_tags)
    reading = sink.waits_within.remote(source.endless_sync.remote(tag))
    unary = source.options(stream=False)
    await unary.until.remote(f"{tag} item", 10.0)
    made = await made_in_the_end(unary, tag)
    reading.cancel()
    assert 0 < made < FAR_AHEAD


async def test_leaving_the_loop_stops_the_producer(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Within 100 ms after the reader's call."""

    async def stop(stream: DeploymentResponseGenerator[Any]) -> float:
        assert await sink.first.remote(stream) == 0
        return time.monotonic()

    assert await _quickest(source, stop) < 0.1


async def test_a_stream_that_nobody_reads_is_stopped(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """When the call that it was passed to ends, whoever holds the generator."""

    async def stop(stream: DeploymentResponseGenerator[Any]) -> float:
        assert await sink.ignores.remote(stream) == "ignored"
        held.append(stream)
        return time.monotonic()

    held: list[Any] = []
    assert await _quickest(source, stop) < 0.1


@pytest.mark.parametrize("reader", ["waits_within", "waits_for_more"])
async def test_cancelling_the_reader_stops_the_producer(
    source: DeploymentHandle, sink: DeploymentHandle, reader: str
) -> None:
    """Within 100 ms, wherever the reader is; a thread that waits for an item is woken."""

    async def stop(stream: DeploymentResponseGenerator[Any]) -> float:
        reading = sink.options(method_name=reader).remote(stream)
        await sink.some.remote(source.pauses.remote(2_000), 2_000)  # it has begun by then
        reading.cancel()
        with pytest.raises(RequestCancelledError):
            await reading
        return time.monotonic()

    assert await _quickest(source, stop) < 0.1


async def test_cancelling_the_reader_before_the_first_item_stops_the_producer(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """The reader's call has not left by then."""
    tag = next(_tags)
    reading = sink.all.remote(source.waits_at_once.remote(tag))
    assert await source.options(stream=False).until.remote(f"{tag} began", 10.0)
    reading.cancel()
    await _stopped_at(source, tag)


async def test_cancelling_a_generator_that_was_passed_stops_the_producer(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Its reader is told."""
    tag = next(_tags)
    stream = source.waits_at_once.remote(tag)
    reading = sink.items_before_error.remote(stream)
    assert await source.options(stream=False).until.remote(f"{tag} began", 10.0)
    stream.cancel()
    assert await reading == ([], "RequestCancelledError: the stream was cancelled by its caller")
    await _stopped_at(source, tag)


async def test_the_end_of_a_pipeline_stops_its_beginning(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """`break` is felt through every call in between."""
    tag = next(_tags)
    async for item in sink.options(stream=True).doubled.remote(source.endless.remote(tag)):
        if item > 20:
            break
    await _stopped_at(source, tag)


async def test_a_stream_ends_with_the_call_that_it_was_passed_to(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """A task that goes on reading after that is told."""
    tag = next(_tags)
    await sink.keeps_reading.remote(source.endless.remote(tag))
    assert await sink.outcome_of_kept.remote() == "RequestCancelledError"
    await _stopped_at(source, tag)


async def test_a_stream_has_its_producers_deadline(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """The reader is told when that passes, and the producer stops."""
    reader = sink.options(timeout_s=60).items_before_error
    items: list[int] = []
    error = ""
    # On a slow machine the time may be over before the reader has read on after the first items.
    for seconds in (0.3, 3.0, 30.0):
        tag = next(_tags)
        with suppress(DeadlineError):
            items, error = await reader.remote(
                source.options(timeout_s=seconds).endless.remote(tag)
            )
        if len(items) > 10:
            break
    assert len(items) > 10
    assert error.startswith("DeadlineError: ")
    await _stopped_at(source, tag)


async def test_streams_are_refused_by_default(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Of their own and nested, at `.remote()`; the error says how, and the stream stays whole."""
    stream = source.pauses.remote(3)
    for argument in (stream, [stream], {"deep": (stream,)}):
        with pytest.raises(SerializationError, match="compose_streams=True"):
            sink.options(compose_streams=False).all.remote(argument)
    with pytest.raises(SerializationError, match="compose_streams=True"):
        pickle.dumps(stream)
    assert await _list(stream) == [0, 1, 2]


async def test_a_refused_call_leaves_the_stream_where_it_was(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """Another argument that cannot be pickled costs no item."""
    stream = source.pauses.remote(3)
    with pytest.raises(SerializationError, match="argument 2"):
        sink.some.remote(stream, threading.Lock())
    assert await _list(stream) == [0, 1, 2]


async def test_a_stream_has_one_reader(source: DeploymentHandle, sink: DeploymentHandle) -> None:
    """Passed once, or consumed here: never both."""
    passed = source.pauses.remote(3)
    reading = sink.all.remote(passed)
    with pytest.raises(SerializationError, match="passed to another call already"):
        sink.all.remote(passed)
    with pytest.raises(SerializationError, match="which alone has its items"):
        await anext(passed)
    assert await reading == [0, 1, 2]
    consumed = source.pauses.remote(3)
    assert await anext(consumed) == 0
    with pytest.raises(SerializationError, match="items were taken"):
        sink.all.remote(consumed)
    assert await _list(consumed) == [1, 2]


async def test_a_stream_is_no_result_and_no_item(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """What goes back to a caller are values."""
    with pytest.raises(SerializationError, match="cannot be passed"):
        await sink.returns_it.remote(source.pauses.remote(3))
    with pytest.raises(SerializationError, match="cannot be passed"):
        await anext(sink.options(stream=True).yields_it.remote(source.pauses.remote(3)))


async def test_returning_a_stream_from_a_generator_call_gives_its_items(
    source: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """As any iterator that a method returns."""
    stream = sink.options(stream=True).returns_it.remote(source.pauses.remote(3))
    assert await _list(stream) == [0, 1, 2]


async def test_a_dead_producer_is_an_error_of_the_reader(
    mode: Mode, fragile: DeploymentHandle, sink: DeploymentHandle
) -> None:
    """After the items before it; it names both deployments."""
    if mode != "processes":
        pytest.skip("nothing survives the end of its own process")
    stream = fragile.options(stream=True).waits_after.remote(3)
    items, error = await sink.outlives.remote(stream, 3, fragile)
    assert items == [0, 1, 2]
    assert error.startswith("ReplicaLostError: the stream of default/Fragile at ")
    assert "that default/Sink reads is lost" in error


async def test_a_dead_reader_stops_the_producer(
    mode: Mode, fragile: DeploymentHandle, source: DeploymentHandle
) -> None:
    """Nobody is left to read."""
    if mode != "processes":
        pytest.skip("nothing survives the end of its own process")
    tag = next(_tags)
    reader = fragile.options(compose_streams=True).dies_reading
    with pytest.raises(Exception, match="ended while it ran the call"):
        await reader.remote(source.endless.remote(tag))
    await _stopped_at(source, tag)
