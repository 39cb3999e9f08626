"""A stream that arrived as an argument: where it is read from, and when, and for how long."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from meshgen.errors import DeadlineError, ReplicaLostError, RequestCancelledError
from meshgen.objectref import Passed
from meshgen.passedstream import PassedStream
from meshgen.runtime.arrivedstream import ArrivedStream, end_streams
from meshgen.runtime.codec import encode, encode_failure
from meshgen.runtime.frames import payload_message
from meshgen.serve.response import DeploymentResponseGenerator
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer
from tests.runtime.replicas import settle, until


def _message(*values: Any, **fields: Any) -> pb.PassedStream:
    message = pb.PassedStream(owner="shop/Cart", address="a", stream_id="s", **fields)
    message.items.extend(payload_message(encode(value)) for value in values)
    return message


def _arrive(message: pb.PassedStream) -> tuple[Here, DeploymentResponseGenerator[Any]]:
    here = Here()
    stream: DeploymentResponseGenerator[Any] = ArrivedStream(message, here.holds).value()
    return here, stream


async def _producer(here: Here) -> ScriptedPeer:
    await until(lambda: "a" in here.network.peers)
    return here.network.peers["a"]


async def test_its_items_come_from_who_makes_them() -> None:
    """The first ones have come along; nothing is asked for before somebody asks here."""
    here, stream = _arrive(_message(1))
    await settle()
    assert here.network.peers == {}
    assert await anext(stream) == 1
    peer = await _producer(here)
    assert peer.in_flight == 1, "the connection is needed"
    rest = pb.CallStreamResponse(items=[payload_message(encode(2)), pb.Payload(payload_id="p")])
    peer.rest.put_nowait(rest)
    peer.rest.put_nowait(None)
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_result(Payload(pickle.dumps(3)))
    assert [item async for item in stream] == [2, 3]
    await settle()
    assert peer.in_flight == 0


@pytest.mark.parametrize("error", [None, KeyError("k")])
async def test_a_stream_that_has_ended_needs_no_connection(error: Exception | None) -> None:
    """All of it has come along, its error included."""
    message = pb.PassedStream(items=[payload_message(encode(1))])
    if error is not None:
        message.failure.CopyFrom(encode_failure(error, "shop/Cart#0"))
    here, stream = _arrive(message)
    assert await anext(stream) == 1
    with pytest.raises(StopAsyncIteration if error is None else KeyError):
        await anext(stream)
    assert here.network.peers == {}


async def test_an_error_of_the_producer_comes_after_the_items_before_it() -> None:
    """As itself."""
    here, stream = _arrive(_message(1))
    assert await anext(stream) == 1
    failure = encode_failure(KeyError("k"), "shop/Cart#0")
    (await _producer(here)).rest.put_nowait(pb.CallStreamResponse(failure=failure))
    with pytest.raises(KeyError):
        await anext(stream)


async def test_a_producer_that_is_gone_is_named() -> None:
    """Whether it was found out here or by who passed the stream."""
    message = _message()
    message.items.add(payload_id="p")
    here, stream = _arrive(message)
    asking = asyncio.create_task(anext(stream))
    peer = await _producer(here)
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_exception(ReplicaLostError("closed"))
    with pytest.raises(ReplicaLostError, match=r"stream of shop/Cart at a that .* is lost: closed"):
        await asking
    lost = encode_failure(ReplicaLostError("shop/Cart is gone"), "its caller")
    _, stream = _arrive(pb.PassedStream(failure=lost))
    with pytest.raises(ReplicaLostError, match="is lost: shop/Cart is gone"):
        await anext(stream)


async def test_it_ends_with_its_process() -> None:
    """Who waits for an item is told."""
    here, stream = _arrive(_message(1))
    assert await anext(stream) == 1
    await _producer(here)
    await here.holds.close()
    with pytest.raises(ReplicaLostError, match="the connection was closed"):
        await anext(stream)


async def test_its_deadline_is_that_of_the_call_that_makes_it() -> None:
    """Whether anybody has begun to read or not."""
    _, stream = _arrive(_message(1, time_left_ms=1))
    await until(lambda: stream.items.ended)
    with pytest.raises(DeadlineError, match=r"stream of shop/Cart at a .* deadline"):
        await anext(stream)


async def test_dropping_it_stops_reading() -> None:
    """As leaving any loop over a stream does."""
    here, stream = _arrive(_message(1))
    assert await anext(stream) == 1
    peer = await _producer(here)
    del stream
    await until(lambda: peer.in_flight == 0)


async def test_it_ends_with_the_call_that_it_was_passed_to() -> None:
    """Who reads on after that is told; one that nobody has unpickled is no trouble."""
    here = Here()
    read, unread = (ArrivedStream(_message(1), here.holds) for _ in range(2))
    stream = read.value()
    assert await anext(stream) == 1
    end_streams([Passed(read, by_value=True), Passed(unread, by_value=True)])
    with pytest.raises(RequestCancelledError):
        await anext(stream)


async def test_it_is_passed_on_as_it_came() -> None:
    """Its items do not come here, and the end of this call does not end it."""
    here, message = Here(), _message(1)
    arrived = ArrivedStream(message, here.holds)
    stream = arrived.value()
    passed = PassedStream(stream.items)
    passed.claim()
    await until(lambda: passed.passable)
    end_streams([Passed(arrived, by_value=True)])
    assert passed.payload is not None
    assert pb.PassedStream.FromString(bytes(passed.payload.pickle)) == message
    assert here.network.peers == {}
