"""A call of a generator: its first items, the rest as it is consumed, and its end."""

from __future__ import annotations

import asyncio
import gc
import pickle
from typing import Any

import pytest

from meshgen.errors import ObjectLostError, ProtocolError, ReplicaLostError, RequestCancelledError
from meshgen.items import ItemBuffer
from meshgen.objectref import Passed
from meshgen.passedstream import PassedStream
from meshgen.reply import Reply
from meshgen.runtime.calls import PendingCall
from meshgen.runtime.codec import encode, encode_failure
from meshgen.runtime.frames import payload_message
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.runtime.streamcall import StreamCall
from meshgen.runtime.unarycall import UnaryCall
from meshgen.types import DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer, serving_peer
from tests.runtime.replicas import settle, until

CART = DeploymentID("shop", "Cart")


def _stream(peer: ScriptedPeer) -> tuple[StreamCall, ItemBuffer, int]:
    items = ItemBuffer()
    call = StreamCall(CART, "count", RequestContext(), Here(), items)
    items.on_cancel = call.abandon
    call.arguments = Payload(b"")
    call.launch(peer)
    return call, items, peer.take_one()


def _items(*values: Any) -> list[pb.Payload]:
    return [payload_message(encode(value)) for value in values]


def _kept(payload_id: str) -> pb.Payload:
    return pb.Payload(payload_id=payload_id)


def _failure(error: Exception) -> pb.Failure:
    return encode_failure(error, "shop/Cart#0")


def _cancelled(peer: ScriptedPeer) -> list[int]:
    return [frame.id for frame in peer.frames() if frame.kind == pb.FRAME_KIND_CANCEL]


async def test_a_short_stream_is_there_with_its_frame() -> None:
    """First items and end."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1, 2)))
    assert [await items.next(), await items.next()] == [1, 2]
    with pytest.raises(StopAsyncIteration):
        await items.next()
    assert peer.in_flight == 0


async def test_the_rest_of_a_stream_is_read_as_it_is_consumed() -> None:
    """Items inline and large ones in their order, then the end."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    first = [*_items(1), _kept("p"), *_items(3)]
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=first, stream_id="s"))
    peer.rest.put_nowait(pb.CallStreamResponse(items=_items(4)))
    peer.rest.put_nowait(pb.CallStreamResponse(items=_items(5)))
    peer.rest.put_nowait(None)
    await settle()
    assert not peer.fetches, "it began before anybody asked for an item"
    one = asyncio.create_task(items.next())
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_result(Payload(pickle.dumps(2)))
    assert await one == 1
    await settle()
    assert peer.rest.qsize() == 3, "it read on before the first items were taken"
    assert [await items.next() for _ in range(4)] == [2, 3, 4, 5]
    with pytest.raises(StopAsyncIteration):
        await items.next()
    await settle()
    assert peer.in_flight == 0


async def test_an_error_of_a_stream_comes_after_its_items() -> None:
    """In the message that brings it."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1), stream_id="s"))
    peer.rest.put_nowait(pb.CallStreamResponse(failure=_failure(KeyError("k"))))
    assert await items.next() == 1
    with pytest.raises(KeyError):
        await items.next()


async def test_a_stream_that_cannot_go_on_is_left() -> None:
    """Its producer need not wait for a reader that will not come."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=[_kept("p")], stream_id="s"))
    one = asyncio.create_task(items.next())
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_exception(ProtocolError("gone"))
    with pytest.raises(ReplicaLostError, match="what was left of a stream is gone: gone"):
        await one
    assert _cancelled(peer) == [call_id]


async def test_a_stream_that_was_passed_on_is_not_read_here() -> None:
    """The other call is told where its items are, the first ones included; the connection lasts."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    passed = PassedStream(items)
    passed.claim()
    first = [*_items(1), _kept("p")]
    assert not passed.passable
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=first, stream_id="s"))
    await settle()
    assert passed.payload is not None
    message = pb.PassedStream.FromString(bytes(passed.payload.pickle))
    assert list(message.items) == first
    assert (message.owner, message.address, message.stream_id) == ("shop/Cart", "a", "s")
    await settle()
    assert (peer.fetches, peer.in_flight, peer.held) == ([], 0, 1)
    assert _cancelled(peer) == []
    del passed
    assert _cancelled(peer) == [call_id]
    assert peer.held == 0


async def test_a_stream_that_was_passed_on_is_left_when_nobody_needs_it() -> None:
    """Before its first items came."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    passed = PassedStream(items)
    passed.claim()
    del passed
    assert _cancelled(peer) == [call_id]


async def test_a_call_waits_for_the_first_items_of_the_streams_it_is_passed() -> None:
    """It has nothing to read before, and nobody needs to hold it; cancelled, it lets them go."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    passed = PassedStream(items)
    passed.claim()
    replies = [Reply(), Reply()]
    submitted: list[PendingCall] = []
    for reply in replies:
        call = UnaryCall(CART, "sum", RequestContext(), Here(), reply)
        reply.carrier = call
        call.arguments = Payload(b"", references=[Passed(passed, by_value=True)])
        call.dispatcher = _Dispatcher(submitted)
        call.set_out()
    del passed
    replies[0].cancel()
    assert (submitted, _cancelled(peer)) == ([], [])
    del reply, replies, call
    gc.collect()
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1), stream_id="s"))
    await settle()
    (left,) = submitted
    left.cancel()
    del left
    submitted.clear()
    assert _cancelled(peer) == [call_id]


class _Dispatcher:
    """Notes what it is given."""

    def __init__(self, submitted: list[PendingCall]) -> None:
        self._submitted = submitted

    def submit(self, call: PendingCall) -> None:
        """Not before the call is ready."""
        self._submitted.append(call)

    def again(self, call: PendingCall, peer: Peer) -> None:
        """Nothing is sent here."""
        raise AssertionError("nothing was sent")

    def forget(self, call: PendingCall) -> None:
        """Nothing waits here."""


@pytest.mark.parametrize("started", [False, True])
async def test_cancelling_a_stream_whose_first_items_came_leaves_the_rest(started: bool) -> None:
    """The replica is told, whether anybody has begun to read on or not."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1), stream_id="s"))
    if started:
        await settle()
    items.cancel()
    assert _cancelled(peer) == [call_id]
    with pytest.raises(RequestCancelledError):
        await items.next()
    await settle()
    assert peer.in_flight == 0


async def test_an_error_in_place_of_items_is_raised_as_itself() -> None:
    """With the first item that is asked for."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=ERROR, id=call_id, failure=_failure(KeyError("k"))))
    with pytest.raises(KeyError):
        await items.next()


async def test_a_value_that_is_lost_fails_a_stream_that_did_not_wait_for_it() -> None:
    """Only a value that has moved is asked for again."""
    peer = serving_peer()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=ERROR, id=call_id, failure=_failure(ObjectLostError("gone"))))
    with pytest.raises(ObjectLostError, match="gone"):
        await items.next()
