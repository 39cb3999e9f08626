"""One call at one replica: its outcome, and what is done for it beside the link."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from meshgen.errors import (
    DeadlineError,
    ProtocolError,
    ReplicaLostError,
    RequestCancelledError,
)
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime.calls import PendingCall, StreamCall, UnaryCall, no_replica
from meshgen.runtime.codec import encode, encode_failure
from meshgen.runtime.frames import payload_message
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.types import DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer
from tests.runtime.replicas import settle, until

CART = DeploymentID("shop", "Cart")


def _connected() -> ScriptedPeer:
    peer = ScriptedPeer("a", lambda _: None)
    peer.start()
    peer.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=9))
    return peer


def _launched(peer: ScriptedPeer, call: PendingCall) -> int:
    call.arguments = Payload(b"")
    call.launch(peer)
    return peer.take_one()


def _unary(peer: ScriptedPeer) -> tuple[UnaryCall, Reply, int]:
    reply = Reply()
    call = UnaryCall(CART, "add", RequestContext(), Here(), reply)
    reply.on_cancel = call.abandon
    return call, reply, _launched(peer, call)


def _stream(peer: ScriptedPeer) -> tuple[StreamCall, ItemBuffer, int]:
    items = ItemBuffer()
    call = StreamCall(CART, "count", RequestContext(), Here(), items)
    items.on_cancel = call.abandon
    return call, items, _launched(peer, call)


def _items(*values: Any) -> list[pb.Payload]:
    return [payload_message(encode(value)) for value in values]


def _kept(payload_id: str) -> pb.Payload:
    return pb.Payload(payload_id=payload_id)


def _failure(error: Exception) -> pb.Failure:
    return encode_failure(error, "shop/Cart#0")


def _cancelled(peer: ScriptedPeer) -> list[int]:
    message = peer.session.outbox.take()
    frames = [] if message is None else message.frames
    return [frame.id for frame in frames if frame.kind == pb.FRAME_KIND_CANCEL]


async def test_an_inline_result_is_there_with_its_frame() -> None:
    """Nothing is in flight then."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    assert peer.in_flight == 1
    peer.answer(call_id, "yes")
    assert reply.value() == "yes" and peer.in_flight == 0


async def test_an_error_is_raised_as_itself() -> None:
    """Of a unary call and of a stream that had no items."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    peer.arrive(pb.Frame(kind=ERROR, id=call_id, failure=_failure(KeyError("k"))))
    with pytest.raises(KeyError):
        reply.value()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=ERROR, id=call_id, failure=_failure(KeyError("k"))))
    with pytest.raises(KeyError):
        await items.next()


async def test_a_large_result_is_fetched() -> None:
    """It counts as in flight until then: a draining replica is not left before."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=_kept("p")))
    await until(lambda: bool(peer.fetches))
    assert peer.in_flight == 1 and not reply.done
    peer.fetches[0].set_result(Payload(pickle.dumps("large")))
    assert await reply == "large"
    await settle()
    assert peer.in_flight == 0


@pytest.mark.parametrize("error", [ProtocolError("gone"), OSError("broken")])
async def test_a_result_that_cannot_be_fetched_is_an_error(error: Exception) -> None:
    """Whatever went wrong; nobody waits for ever."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=_kept("p")))
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_exception(error)
    with pytest.raises(type(error), match=str(error)):
        await reply
    await settle()
    assert peer.in_flight == 0


async def test_a_result_that_is_lost_on_its_way_is_lost() -> None:
    """The call has run, and its result went with the replica."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=_kept("p")))
    await peer.close()
    with pytest.raises(ReplicaLostError):
        await reply


@pytest.mark.parametrize("fetching", [False, True])
async def test_cancelling_lets_a_large_result_go(fetching: bool) -> None:
    """The replica is told that nobody comes for it."""
    peer = _connected()
    _, reply, call_id = _unary(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=_kept("p")))
    if fetching:
        await until(lambda: bool(peer.fetches))
    reply.cancel()
    assert _cancelled(peer) == [call_id]
    await settle()
    assert peer.in_flight == 0
    assert all(fetch.cancelled() for fetch in peer.fetches)


async def test_a_short_stream_is_there_with_its_frame() -> None:
    """First items and end."""
    peer = _connected()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1, 2)))
    assert [await items.next(), await items.next()] == [1, 2]
    with pytest.raises(StopAsyncIteration):
        await items.next()
    assert peer.in_flight == 0


async def test_the_rest_of_a_stream_is_read_as_it_is_consumed() -> None:
    """Items inline and large ones in their order, then the end."""
    peer = _connected()
    _, items, call_id = _stream(peer)
    first = [*_items(1), _kept("p"), *_items(3)]
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=first, stream_id="s"))
    peer.rest.put_nowait(pb.CallStreamResponse(items=_items(4)))
    peer.rest.put_nowait(pb.CallStreamResponse(items=_items(5)))
    peer.rest.put_nowait(None)
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_result(Payload(pickle.dumps(2)))
    await until(lambda: peer.rest.qsize() == 3)
    await settle()
    assert peer.rest.qsize() == 3, "it read on before the first items were taken"
    assert [await items.next() for _ in range(5)] == [1, 2, 3, 4, 5]
    with pytest.raises(StopAsyncIteration):
        await items.next()
    await settle()
    assert peer.in_flight == 0


async def test_an_error_of_a_stream_comes_after_its_items() -> None:
    """In the message that brings it."""
    peer = _connected()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=_items(1), stream_id="s"))
    peer.rest.put_nowait(pb.CallStreamResponse(failure=_failure(KeyError("k"))))
    assert await items.next() == 1
    with pytest.raises(KeyError):
        await items.next()


async def test_a_stream_that_cannot_go_on_is_left() -> None:
    """Its producer need not wait for a reader that will not come."""
    peer = _connected()
    _, items, call_id = _stream(peer)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, items=[_kept("p")], stream_id="s"))
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_exception(ProtocolError("gone"))
    with pytest.raises(ProtocolError):
        await items.next()
    assert _cancelled(peer) == [call_id]


@pytest.mark.parametrize("started", [False, True])
async def test_cancelling_a_stream_whose_first_items_came_leaves_the_rest(started: bool) -> None:
    """The replica is told, whether anybody has begun to read on or not."""
    peer = _connected()
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


async def test_a_call_that_is_answered_has_no_deadline_any_more() -> None:
    """Its timer is gone with it."""
    peer = _connected()
    call, reply, call_id = _unary(peer)
    loop = asyncio.get_running_loop()
    call.watch_deadline(loop, loop.time() + 0.001)
    peer.answer(call_id, "in time")
    await asyncio.to_thread(lambda: None)
    call.expire()
    assert reply.value() == "in time"


async def test_a_deadline_is_an_error_that_names_the_deployment() -> None:
    """And the replica is told to stop."""
    peer = _connected()
    call, reply, call_id = _unary(peer)
    call.expire()
    with pytest.raises(DeadlineError, match="shop/Cart gave no result before the call's deadline"):
        reply.value()
    assert _cancelled(peer) == [call_id]


def test_nobody_to_take_a_call_is_told_with_the_reason() -> None:
    """Where there is one."""
    assert str(no_replica("shop/Cart", 30, "refused")) == (
        "no replica of shop/Cart took calls for 30 s: refused"
    )
    assert str(no_replica("shop/Cart", 0.5, "")).endswith("took calls for 0.5 s")
