"""A call with one result: inline or left at its replica, and kept there for others."""

from __future__ import annotations

import asyncio
import gc
import pickle

import pytest

from meshgen.errors import DeadlineError, ObjectLostError, ProtocolError, UnavailableError
from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode, encode_failure
from meshgen.runtime.frames import payload_message
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.runtime.unarycall import UnaryCall
from meshgen.types import DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer, serving_peer
from tests.runtime.replicas import settle, until

CART = DeploymentID("shop", "Cart")
REQUEST, CANCEL = pb.FRAME_KIND_REQUEST, pb.FRAME_KIND_CANCEL
RETAIN, RELEASE = pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_RELEASE
HOLD, FETCH = pb.FRAME_KIND_HOLD, pb.FRAME_KIND_FETCH


class Elsewhere:
    """Takes note of calls that a replica did not start."""

    def __init__(self) -> None:
        self.calls: list[UnaryCall] = []

    def submit(self, call: object) -> None:
        """Never asked for here."""
        raise AssertionError("it has no arguments to wait for")

    def again(self, call: object, peer: Peer) -> None:
        """Where it is to go next, the test says."""

    def forget(self, call: object) -> None:
        """It was nowhere."""


def _new(home: Here | None = None, size: int = 1) -> tuple[UnaryCall, Reply]:
    reply = Reply()
    call = UnaryCall(CART, "add", RequestContext(), home or Here(), reply)
    call.dispatcher = Elsewhere()
    call.arguments = Payload(bytes(size))
    reply.carrier = call
    return call, reply


def _sent(peer: ScriptedPeer, home: Here | None = None) -> tuple[UnaryCall, Reply, int]:
    call, reply = _new(home)
    call.launch(peer)
    return call, reply, peer.take_one()


def _kinds(peer: ScriptedPeer) -> list[pb.FrameKind]:
    return [frame.kind for frame in peer.frames()]


def _retained(call: UnaryCall, peer: ScriptedPeer) -> str:
    """Have it kept; under which id."""
    call.keep(lambda: None)
    (frame,) = peer.frames()
    assert frame.kind == RETAIN
    return frame.value_id


def _large(call_id: int, value_id: str) -> pb.Frame:
    return pb.Frame(kind=RESPONSE, id=call_id, payload=pb.Payload(payload_id=value_id))


def _failed(call_id: int, error: Exception) -> pb.Frame:
    return pb.Frame(kind=ERROR, id=call_id, failure=encode_failure(error, "shop/Cart#0"))


async def test_an_inline_result_is_there_with_its_frame() -> None:
    """Nothing is in flight then."""
    peer = serving_peer()
    _, reply, call_id = _sent(peer)
    assert peer.in_flight == 1
    peer.answer(call_id, "yes")
    assert reply.value() == "yes" and peer.in_flight == 0


async def test_an_error_is_raised_as_itself() -> None:
    """As its replica raised it."""
    peer = serving_peer()
    _, reply, call_id = _sent(peer)
    peer.arrive(_failed(call_id, KeyError("k")))
    with pytest.raises(KeyError):
        reply.value()


async def test_a_large_result_stays_where_it_is_until_somebody_waits() -> None:
    """The call is over all the same."""
    peer = serving_peer()
    _, reply, call_id = _sent(peer)
    peer.arrive(_large(call_id, "v"))
    await settle()
    assert peer.in_flight == 0 and not peer.fetches and not reply.done
    waiting = asyncio.ensure_future(reply)
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_result(Payload(pickle.dumps("large")))
    assert await waiting == "large"


async def test_a_large_result_that_is_waited_for_is_fetched_at_once() -> None:
    """And once, however many wait."""
    peer = serving_peer()
    _, reply, call_id = _sent(peer)
    waiting = asyncio.gather(reply, reply)
    await settle()
    peer.arrive(_large(call_id, "v"))
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_result(Payload(pickle.dumps("large")))
    assert list(await waiting) == ["large", "large"]
    assert len(peer.fetches) == 1


@pytest.mark.parametrize("error", [ProtocolError("gone"), OSError("broken")])
async def test_a_result_that_cannot_be_fetched_is_an_error(error: Exception) -> None:
    """Whatever went wrong; nobody waits for ever."""
    peer = serving_peer()
    _, reply, call_id = _sent(peer)
    peer.arrive(_large(call_id, "v"))
    waiting = asyncio.ensure_future(reply)
    await until(lambda: bool(peer.fetches))
    peer.fetches[0].set_exception(error)
    with pytest.raises((ObjectLostError, OSError), match=str(error)):
        await waiting


async def test_a_large_result_is_lost_with_its_replica() -> None:
    """The error says whose value it was, and why it is gone."""
    peer, home = serving_peer(), Here()
    _, reply, call_id = _sent(peer, home)
    peer.arrive(_large(call_id, "v"))
    peer.lose()
    waiting = asyncio.ensure_future(reply)
    await until(lambda: "a" in home.network.peers)
    (fetch,) = home.network.peers["a"].fetches
    fetch.set_exception(UnavailableError("connection refused"))
    with pytest.raises(ObjectLostError, match="shop/Cart made at a is lost: connection refused"):
        await waiting


async def test_a_large_result_that_nobody_wants_is_let_go() -> None:
    """With the last reference to the response."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    peer.arrive(_large(call_id, "v"))
    assert peer.frames() == [] and peer.held == 1
    del call, reply
    gc.collect()
    await settle()
    (frame,) = peer.frames()
    assert (frame.kind, frame.value_id) == (RELEASE, "v") and peer.held == 0


async def test_a_running_call_is_retained_on_the_link_that_carries_it() -> None:
    """Whoever wants to pass it on may do so once the replica has said that it holds."""
    peer = serving_peer("there")
    call, reply, call_id = _sent(peer)
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.passable))
    (frame,) = peer.frames()
    assert (frame.kind, frame.id) == (RETAIN, call_id)
    assert ready == [] and not reply.passable
    peer.confirm(call_id)
    assert ready == [True] and reply.kept is not None
    assert reply.kept.token == (CART, "there", frame.value_id)


async def test_a_call_is_retained_once() -> None:
    """However many want it."""
    peer = serving_peer()
    call, _, call_id = _sent(peer)
    ready: list[int] = []
    call.keep(lambda: ready.append(1))
    call.keep(lambda: ready.append(2))
    assert _kinds(peer) == [RETAIN] and ready == []
    peer.confirm(call_id)
    assert ready == [1, 2]
    call.keep(lambda: ready.append(3))
    assert _kinds(peer) == [] and ready == [1, 2, 3]


async def test_a_call_without_a_replica_is_retained_as_soon_as_it_has_one() -> None:
    """Right behind its request."""
    peer = serving_peer()
    call, reply = _new()
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.passable))
    assert ready == [] and not reply.passable
    call.launch(peer)
    asked, retain = peer.frames()
    assert (asked.kind, retain.kind) == (REQUEST, RETAIN) and ready == []
    peer.confirm(asked.id)
    assert ready == [True]


async def test_a_call_whose_arguments_are_uploaded_is_retained_once_it_leaves() -> None:
    """Before that the replica does not know of it."""
    peer = serving_peer()
    call, reply = _new(size=INLINE_LIMIT + 1)
    call.launch(peer)
    call.keep(lambda: None)
    await until(lambda: bool(peer.uploads))
    assert peer.frames() == [] and not reply.passable
    peer.uploads[0].set_result("p")
    await until(lambda: bool(peer.session.calls))
    asked, retain = peer.frames()
    assert (asked.kind, retain.kind) == (REQUEST, RETAIN)
    peer.confirm(asked.id)
    assert reply.passable


async def test_a_finished_call_has_nothing_to_retain() -> None:
    """Its value is here and travels with whatever it is passed to."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    peer.answer(call_id)
    ready: list[int] = []
    call.keep(lambda: ready.append(1))
    assert ready == [1] and peer.frames() == [] and reply.kept is None


@pytest.mark.parametrize("failed", [False, True])
async def test_an_outcome_that_comes_before_the_confirmation_is_here(failed: bool) -> None:
    """Nothing is kept for it, and nothing goes back: it travels with what it is passed to."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.done))
    assert _kinds(peer) == [RETAIN]
    if failed:
        peer.arrive(_failed(call_id, KeyError("k")))
    else:
        peer.answer(call_id, "yes")
    assert ready == [True] and reply.kept is None and reply.token is None
    assert peer.frames() == []


async def test_a_large_result_that_comes_before_the_confirmation_has_the_id_of_its_answer() -> None:
    """Its replica keeps it under that one; of the other nobody was told."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.passable))
    (retain,) = peer.frames()
    peer.arrive(_large(call_id, "the replica's own"))
    assert ready == [True] and reply.token == (CART, "a", "the replica's own")
    del call
    gc.collect()
    await settle()
    assert [(f.kind, f.value_id) for f in peer.frames()] == [(RELEASE, retain.value_id)]
    assert peer.held == 1


@pytest.mark.parametrize("failed", [False, True])
async def test_an_outcome_that_was_retained_in_time_stays(failed: bool) -> None:
    """Here and there: nothing more is said of it while its response lives."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    _retained(call, peer)
    peer.confirm(call_id)
    if failed:
        peer.arrive(_failed(call_id, KeyError("k")))
    else:
        peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=payload_message(encode("yes"))))
    assert peer.frames() == [] and reply.done and reply.kept is not None


async def test_a_large_result_that_was_retained_in_time_is_kept_once() -> None:
    """Under the one id."""
    peer = serving_peer()
    call, reply, call_id = _sent(peer)
    value_id = _retained(call, peer)
    peer.confirm(call_id)
    peer.arrive(_large(call_id, value_id))
    assert peer.frames() == [] and peer.held == 1
    assert reply.kept is not None and reply.kept.token.value_id == value_id


@pytest.mark.parametrize("confirmed", [False, True])
async def test_a_call_that_was_refused_is_retained_anew(confirmed: bool) -> None:
    """Under another id, at the replica that takes it; the first one is let go."""
    busy, free = serving_peer("busy"), serving_peer("free")
    call, reply, call_id = _sent(busy)
    first = _retained(call, busy)
    if confirmed:
        busy.confirm(call_id)
    assert reply.passable is confirmed
    busy.refuse(call_id)
    assert not reply.passable
    await settle()
    assert [(f.kind, f.value_id) for f in busy.frames()] == [(RELEASE, first)]
    call.launch(free)
    asked, retain = free.frames()
    assert retain.kind == RETAIN and retain.value_id != first and not reply.passable
    free.confirm(asked.id)
    assert reply.kept is not None
    assert reply.kept.token == (CART, "free", retain.value_id)


async def test_who_waits_for_a_replica_is_told_when_the_call_fails() -> None:
    """There will be none."""
    call, reply = _new()
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.done))
    call.fail(KeyError("k"))
    assert ready == [True]


async def test_who_waits_for_a_replica_is_told_when_the_call_is_cancelled() -> None:
    """There will be none."""
    call, reply = _new()
    ready: list[bool] = []
    call.keep(lambda: ready.append(reply.done))
    reply.cancel()
    assert ready == [True]


async def test_who_waits_for_a_replica_learns_of_a_deadline_as_such() -> None:
    """The reply has its error by then."""
    call, reply = _new()
    errors: list[BaseException | None] = []
    call.keep(lambda: errors.append(reply.error))
    call.expire()
    assert [type(error) for error in errors] == [DeadlineError]


async def test_a_call_past_its_deadline_is_not_retained() -> None:
    """Its replica was told to stop, and nothing comes of it."""
    peer = serving_peer()
    call, _, _ = _sent(peer)
    call.expire()
    call.keep(lambda: None)
    assert _kinds(peer) == [CANCEL]


async def test_what_a_result_refers_to_is_held_before_its_replica_lets_go() -> None:
    """Its replica keeps it until it hears the CANCEL."""
    peer, home = serving_peer(), Here()
    _, reply, call_id = _sent(peer, home)
    answer = pb.Frame(kind=RESPONSE, id=call_id)
    answer.payload.has_more = True
    reference = answer.payload.references.add()
    reference.owner, reference.address, reference.value_id = "shop/Till", "b", "v"
    noted = encode([ObjectRef(Reply())])
    answer.payload.pickle = bytes(noted.pickle)
    peer.arrive(answer)
    await until(lambda: "b" in home.network.peers)
    owner = home.network.peers["b"]
    (question,) = owner.frames()
    assert (question.kind, question.value_id) == (HOLD, "v")
    assert peer.frames() == []
    owner.answer(question.id)
    await settle()
    (told,) = peer.frames()
    assert (told.kind, told.id) == (CANCEL, call_id)
    (ref,) = reply.value()
    assert ref.hex() == "v"
