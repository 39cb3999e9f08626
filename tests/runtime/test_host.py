"""One caller's link at a replica: tasks come and go with its calls."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.host import LinkHost, answer_stream
from meshgen.runtime.pump import ItemPump
from meshgen.runtime.replica import Replica
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, settle, until


class _Worker:
    def __init__(self) -> None:
        self.log: list[str] = []
        self.go_on = asyncio.Event()

    async def add(self, x: int) -> int:
        self.log.append(f"add {x}")
        return x + 1

    async def wait(self) -> str:
        try:
            self.log.append("began")
            await self.go_on.wait()
            return "waited"
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.log.append("cleaned up")
            raise

    async def large(self) -> bytes:
        return bytes(INLINE_LIMIT)

    async def items(self, n: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(n):
            yield bytes(size)

    async def endless(self) -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            self.log.append("closed")


@asynccontextmanager
async def _hosted(**options: Any) -> AsyncIterator[tuple[LinkHost, Replica, _Worker]]:
    async with lone_replica(_Worker, **options) as replica:
        async with LinkHost(replica) as host:
            await host.receive([_hello()])
            yield host, replica, replica.context.servable_object
        assert replica.ongoing == 0


def _hello() -> pb.Frame:
    hello = pb.Hello(protocol=1, deployment="default/_Worker", caller="test")
    return pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello)


def _request(call_id: int, method: str, *args: Any, stream: bool = False) -> pb.Frame:
    invocation = pb.Invocation(
        method=method, arguments=pb.Payload(pickle=pickle.dumps((args, {}))), stream=stream
    )
    return pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=call_id, invocation=invocation)


def _cancel(call_id: int) -> pb.Frame:
    return pb.Frame(kind=pb.FRAME_KIND_CANCEL, id=call_id)


async def _answers(host: LinkHost, count: int) -> list[pb.Frame]:
    found: list[pb.Frame] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            message = await host.session.outbox.next()
            assert message is not None
            found += [f for f in message.frames if f.kind != pb.FRAME_KIND_STATE]
    return found


async def test_every_request_has_one_answer() -> None:
    """A whole message of them, taken in slices."""
    async with _hosted(max_ongoing_requests=100) as (host, replica, _):
        await host.receive([_request(n, "add", n) for n in range(100)])
        answers = await _answers(host, 100)
        assert {f.id: pickle.loads(f.payload.pickle) for f in answers} == {
            n: n + 1 for n in range(100)
        }
        assert replica.ongoing == 0


async def test_what_finds_no_slot_is_sent_away() -> None:
    """At once, and without running it."""
    async with _hosted(max_ongoing_requests=1) as (host, _, worker):
        await host.receive([_request(1, "wait"), _request(2, "add", 1)])
        (answer,) = await _answers(host, 1)
        assert (answer.id, answer.kind) == (2, pb.FRAME_KIND_BUSY)
        worker.go_on.set()
        (answer,) = await _answers(host, 1)
        assert (answer.id, answer.kind) == (1, RESPONSE)
        assert "add 1" not in worker.log


async def test_a_call_that_is_cancelled_before_it_began_never_runs() -> None:
    """Its slot is free nevertheless."""
    async with _hosted() as (host, replica, worker):
        host.session.receive([_request(1, "wait"), _cancel(1)])
        (answer,) = await _answers(host, 1)
        assert answer.failure.kind == pb.FAILURE_KIND_CANCELLED
        await settle()
        assert worker.log == [] and replica.ongoing == 0


async def test_a_cancelled_call_keeps_its_slot_while_it_cleans_up() -> None:
    """And is not interrupted by a second CANCEL, or by the end of the link."""
    async with _hosted() as (host, replica, worker):
        await host.receive([_request(1, "wait")])
        await settle()
        host.session.receive([_cancel(1)])
        await asyncio.sleep(0)
        assert replica.ongoing == 1
        host.session.receive([_cancel(1)])
    assert worker.log == ["began", "cleaned up"]


async def test_the_end_of_the_link_ends_its_calls() -> None:
    """And waits for them."""
    async with _hosted() as (host, _, worker):
        await host.receive([_request(1, "wait"), _request(2, "endless", stream=True)])
        await settle()
    assert set(worker.log) == {"began", "cleaned up", "closed"}


async def test_a_short_stream_ends_with_its_first_items() -> None:
    """One frame, and nothing to come back for."""
    async with _hosted() as (host, replica, _):
        await host.receive([_request(1, "items", 3, 1, stream=True)])
        (answer,) = await _answers(host, 1)
        assert len(answer.items) == 3 and not answer.stream_id
        assert replica.ongoing == 0


async def test_the_rest_of_a_stream_waits_for_its_caller() -> None:
    """However long it takes, it keeps its slot."""
    async with _hosted() as (host, replica, _):
        await host.receive([_request(1, "items", 3000, 1, stream=True)])
        (answer,) = await _answers(host, 1)
        pump = replica.streams.take(answer.stream_id)
        found = len(answer.items)
        assert replica.ongoing == 1
        async for message in answer_stream(replica, pump):
            found += len(message.items)
        assert found == 3000 and replica.ongoing == 0


async def test_a_stream_that_nobody_reads_on_is_closed() -> None:
    """By a CANCEL, although its call was answered."""
    async with _hosted() as (host, replica, worker):
        await host.receive([_request(1, "endless", stream=True)])
        (answer,) = await _answers(host, 1)
        assert answer.stream_id in replica.streams
        await host.receive([_cancel(1)])
        await until(lambda: replica.ongoing == 0)
        assert worker.log == ["closed"]


@pytest.mark.parametrize("how", ["cancel", "end of the link"])
@pytest.mark.parametrize("stream", [False, True])
async def test_large_results_that_nobody_fetches_are_let_go(how: str, stream: bool) -> None:
    """At once, and not only with time."""
    async with _hosted() as (host, replica, _):
        method = _request(1, "items", 2, INLINE_LIMIT + 1, stream=True)
        await host.receive([method if stream else _request(1, "large")])
        (answer,) = await _answers(host, 1)
        assert len(replica.results) == (2 if stream else 1)
        if how == "cancel":
            await host.receive([_cancel(1)])
            assert len(replica.results) == 0
    assert len(replica.results) == 0


async def test_items_that_were_not_fetched_go_with_their_stream() -> None:
    """Its reader is gone, and will not come for them."""
    async with lone_replica(_Worker) as replica:
        assert replica.admit()
        pump = ItemPump(replica.stream(_request(1, "items", 50, INLINE_LIMIT + 1).invocation))
        pump.start()
        messages = answer_stream(replica, pump)
        message = await anext(messages)
        assert message.items[0].payload_id and len(replica.results) > 0
        await messages.aclose()
        assert len(replica.results) == 0 and replica.ongoing == 0


async def test_an_error_is_told_with_its_origin() -> None:
    """To its caller, and to no other."""
    async with _hosted() as (host, _, _worker):
        await host.receive([_request(1, "add", "x"), _request(2, "add", 1)])
        answers = {answer.id: answer for answer in await _answers(host, 2)}
        assert answers[1].kind == ERROR and answers[2].kind == RESPONSE
        assert answers[1].failure.type_name == "builtins.TypeError"
        assert answers[1].failure.origin == "default/_Worker#0"
