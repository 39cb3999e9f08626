"""A call on its way: its deadline, and the responses among its arguments that it waits for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from meshgen.errors import (
    DeadlineError,
    NotServingError,
    ObjectLostError,
    RequestCancelledError,
)
from meshgen.items import ItemBuffer
from meshgen.objectref import ByValue, ObjectRef
from meshgen.reply import Reply
from meshgen.runtime.calls import PendingCall, no_replica
from meshgen.runtime.codec import encode_arguments, encode_failure
from meshgen.runtime.heldvalue import HeldValue
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR, REQUEST, RESPONSE
from meshgen.runtime.streamcall import StreamCall
from meshgen.runtime.unarycall import UnaryCall
from meshgen.runtime.upstream import passable
from meshgen.types import DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer, serving_peer
from tests.runtime.replicas import settle

CART = DeploymentID("shop", "Cart")


class Dispatched:
    """Finds no replica: the tests do. Notes what it is asked."""

    def __init__(self) -> None:
        self.submitted: list[PendingCall] = []
        self.forgotten: list[PendingCall] = []

    def submit(self, call: PendingCall) -> None:
        """A call is ready to be sent."""
        self.submitted.append(call)

    def again(self, call: PendingCall, peer: Peer) -> None:
        """A call is to go elsewhere."""
        self.submitted.append(call)

    def forget(self, call: PendingCall) -> None:
        """A call is to go nowhere."""
        self.forgotten.append(call)


class Process(Here):
    """Makes calls."""

    def __init__(self) -> None:
        super().__init__()
        self.dispatched = Dispatched()

    def call(self, *args: Any) -> tuple[UnaryCall, Reply]:
        """A call that waits to be sent."""
        reply = Reply()
        call = UnaryCall(CART, "add", RequestContext(), self, reply)
        reply.carrier = call
        self._set_out(call, args)
        return call, reply

    def stream(self, *args: Any) -> tuple[StreamCall, ItemBuffer]:
        """The same of a generator."""
        items = ItemBuffer()
        call = StreamCall(CART, "count", RequestContext(), self, items)
        items.on_cancel = call.abandon
        self._set_out(call, args)
        return call, items

    def _set_out(self, call: PendingCall, args: tuple[Any, ...]) -> None:
        call.dispatcher = self.dispatched
        call.arguments = encode_arguments((args, {}))
        call.set_out()

    def submitted(self) -> list[PendingCall]:
        """The calls that are ready to be sent, since the last time."""
        found, self.dispatched.submitted = self.dispatched.submitted, []
        return found


def _sent(call: PendingCall, peer: ScriptedPeer) -> pb.Frame:
    """Send it; its request."""
    call.launch(peer)
    (request,) = [frame for frame in peer.frames() if frame.kind == REQUEST]
    return request


def _lost(call_id: int) -> pb.Frame:
    failure = encode_failure(ObjectLostError("gone"), "shop/Cart#0")
    return pb.Frame(kind=ERROR, id=call_id, failure=failure)


def _leave_large(peer: ScriptedPeer, call_id: int, value_id: str = "v") -> None:
    payload = pb.Payload(payload_id=value_id)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=payload))


async def test_a_call_waits_until_its_arguments_were_made() -> None:
    """A small one goes along with it."""
    process, peer = Process(), serving_peer("there")
    upstream, reply = process.call()
    dependent, _ = process.call(ByValue(reply))
    assert process.submitted() == [upstream]
    call_id = _sent(upstream, peer).id
    assert process.submitted() == []
    peer.answer(call_id, "small")
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert reference.by_value and reference.payload.pickle and not reference.value_id


async def test_a_large_argument_stays_where_it_was_made() -> None:
    """The call says where that is, and the caller never sees it."""
    process, peer = Process(), serving_peer("there")
    upstream, reply = process.call()
    dependent, _ = process.call(ByValue(reply))
    process.submitted()
    _leave_large(peer, _sent(upstream, peer).id)
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert (reference.owner, reference.address) == ("shop/Cart", "there")
    assert reference.value_id == "v" and reference.by_value
    assert not reply.done and not peer.fetches


async def test_a_reference_waits_until_its_value_is_sure_to_be_kept() -> None:
    """Not for the value: the call leaves with word of where that will be."""
    process, peer = Process(), serving_peer("there")
    upstream, reply = process.call()
    dependent, _ = process.call([ObjectRef(reply)])
    assert process.submitted() == [upstream]
    upstream.launch(peer)
    request, retain = peer.frames()
    assert process.submitted() == []
    peer.confirm(request.id)
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert retain.id == request.id and not reply.done and not reference.by_value
    assert (reference.address, reference.value_id) == ("there", retain.value_id)


async def test_a_call_waits_for_all_of_its_arguments() -> None:
    """Each of them may come at another time."""
    process, peer = Process(), serving_peer()
    upstreams = [process.call() for _ in range(3)]
    process.submitted()
    dependent, _ = process.call(*(ByValue(reply) for _, reply in upstreams))
    for upstream, _ in upstreams:
        assert process.submitted() == []
        peer.answer(_sent(upstream, peer).id)
    assert process.submitted() == [dependent]


async def test_the_first_failed_argument_fails_a_call_that_waits_for_others() -> None:
    """They do not matter any more."""
    process = Process()
    upstreams = [process.call() for _ in range(3)]
    process.submitted()
    _, failed = process.call(*(ByValue(reply) for _, reply in upstreams))
    upstreams[1][0].fail(error := KeyError("upstream"))
    assert failed.error is error
    for upstream, _ in upstreams:
        upstream.fail(ValueError("later"))
    assert failed.error is error and process.submitted() == []


async def test_a_chain_goes_on_link_by_link() -> None:
    """Any depth of it."""
    process, peer = Process(), serving_peer()
    _, reply = process.call()
    for _ in range(20):
        _, reply = process.call(ByValue(reply))
    for _ in range(21):
        (ready,) = process.submitted()
        peer.answer(_sent(ready, peer).id)
    assert process.submitted() == [] and reply.done


async def test_a_value_that_is_here_travels_with_the_call() -> None:
    """Nobody need be asked for it."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    peer.answer(_sent(upstream, peer).id, "small")
    dependent, _ = process.call(ByValue(reply))
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert reference.payload.pickle and not reference.value_id
    assert peer.session.waiting == set()


async def test_a_failed_argument_fails_the_call_before_it_is_sent() -> None:
    """With that very error, whether it was passed on before or after."""
    process = Process()
    upstream, reply = process.call()
    process.submitted()
    _, early = process.call(ByValue(reply))
    upstream.fail(error := KeyError("upstream"))
    _, late = process.call(ByValue(reply))
    assert early.error is late.error is error
    assert process.submitted() == []


async def test_an_argument_that_is_lost_with_its_replica_is_a_lost_value() -> None:
    """The call itself has not run anywhere: the error says so, and names both deployments."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    upstream.launch(peer)
    _, failed = process.call(ByValue(reply))
    upstream.lost()
    assert isinstance(failed.error, ObjectLostError)
    assert str(failed.error).startswith("shop/Cart was not called: the connection to shop/Cart")


async def test_a_failed_reference_does_not_fail_the_call() -> None:
    """Whoever awaits it there gets the error."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    process.submitted()
    dependent, _ = process.call([ObjectRef(reply)])
    upstream.fail(KeyError("upstream"))
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert reference.failure.type_name == "builtins.KeyError" and not reference.by_value


async def test_a_call_that_waits_for_values_does_not_count_against_the_limit() -> None:
    """It takes no slot before it has them; it is in flight all the same."""
    process, peer = Process(), serving_peer()
    peer.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=1))
    upstream, reply = process.call()
    _leave_large(peer, _sent(upstream, peer).id)
    dependent, _ = process.call(ByValue(reply))
    call_id = _sent(dependent, peer).id
    assert peer.has_room() and peer.in_flight == 1
    assert peer.session.waiting == {call_id}
    peer.answer(call_id)
    assert peer.session.waiting == set() and peer.in_flight == 0


async def test_a_call_with_references_only_counts_against_the_limit() -> None:
    """It runs at once."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    upstream.launch(peer)
    dependent, _ = process.call([ObjectRef(reply)])
    dependent.launch(peer)
    assert peer.session.waiting == set()


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_follows_a_value_that_has_moved(stream: bool) -> None:
    """Its replica has left, and the value came to the caller after the call had been told of it."""
    process, leaving, other = Process(), serving_peer("leaving"), serving_peer("other")
    upstream, reply = process.call()
    _leave_large(leaving, _sent(upstream, leaving).id)
    dependent = (process.stream if stream else process.call)(ByValue(reply))[0]
    call_id = _sent(dependent, other).id
    process.submitted()
    assert isinstance(reply.kept, HeldValue)
    reply.kept.come_home(Payload(b"N."))
    other.arrive(_lost(call_id))
    assert process.submitted() == [dependent] and not dependent.is_over()
    (reference,) = _sent(dependent, other).invocation.arguments.references
    assert reference.payload.pickle == b"N." and not reference.value_id


async def test_a_call_that_was_refused_is_told_anew_where_its_values_are() -> None:
    """They may have moved since."""
    process, leaving, busy = Process(), serving_peer("leaving"), serving_peer("busy")
    upstream, reply = process.call()
    _leave_large(leaving, _sent(upstream, leaving).id)
    dependent, _ = process.call(ByValue(reply))
    busy.refuse(_sent(dependent, busy).id)
    assert isinstance(reply.kept, HeldValue)
    reply.kept.come_home(Payload(b"N."))
    (reference,) = _sent(dependent, busy).invocation.arguments.references
    assert reference.payload.pickle == b"N."


async def test_a_small_result_that_overtakes_its_keeping_travels_with_a_reference() -> None:
    """Nobody is told of a place where it is not."""
    process, peer = Process(), serving_peer("there")
    upstream, reply = process.call()
    call_id = _sent(upstream, peer).id
    dependent, _ = process.call([ObjectRef(reply)])
    process.submitted()
    peer.answer(call_id, "small")
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert reference.payload.pickle and not reference.value_id and not reference.by_value


async def test_a_large_result_that_overtakes_its_keeping_has_the_id_of_its_answer() -> None:
    """Under the id that its replica has chosen for it."""
    process, peer = Process(), serving_peer("there")
    upstream, reply = process.call()
    call_id = _sent(upstream, peer).id
    dependent, _ = process.call([ObjectRef(reply)])
    (retain,) = peer.frames()
    process.submitted()
    _leave_large(peer, call_id, "the answer's")
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, peer).invocation.arguments.references
    assert (reference.address, reference.value_id) == ("there", "the answer's")
    assert retain.value_id != "the answer's" and not reference.by_value


async def test_a_reference_to_a_call_that_was_refused_waits_for_its_next_replica() -> None:
    """Its dependent never sees the id that it was to have at the first one."""
    process, busy, free = Process(), serving_peer("busy"), serving_peer("free")
    upstream, reply = process.call()
    upstream_id = _sent(upstream, busy).id
    dependent, _ = process.call([ObjectRef(reply)])
    (first,) = busy.frames()
    process.submitted()
    busy.refuse(upstream_id)
    assert process.submitted() == [upstream]
    upstream.launch(free)
    request, second = free.frames()
    assert process.submitted() == []
    free.confirm(request.id)
    assert process.submitted() == [dependent]
    (reference,) = _sent(dependent, free).invocation.arguments.references
    assert (reference.address, reference.value_id) == ("free", second.value_id)
    assert second.value_id != first.value_id


async def test_a_call_waits_anew_for_a_reference_that_lost_its_place() -> None:
    """The replica was sure to keep it, and left before it had begun: the next one is asked."""
    process, leaving, free = Process(), serving_peer("leaving"), serving_peer("free")
    upstream, reply = process.call()
    upstream_id = _sent(upstream, leaving).id
    dependent, _ = process.call([ObjectRef(reply)])
    leaving.confirm(upstream_id)
    assert process.submitted() == [upstream, dependent]
    leaving.refuse(upstream_id)
    assert process.submitted() == [upstream]
    dependent.launch(free)
    assert free.take() == []
    free.confirm(_sent(upstream, free).id)
    assert process.submitted() == [dependent]


async def test_what_a_call_was_told_of_stays_there_until_it_has_ended() -> None:
    """Even if the caller has it by then, and whoever made it lets go of the response."""
    process, owner, peer = Process(), serving_peer("owner"), serving_peer()
    upstream, reply = process.call()
    _leave_large(owner, _sent(upstream, owner).id)
    dependent, ended = process.call(ByValue(reply))
    call_id = _sent(dependent, peer).id
    assert isinstance(reply.kept, HeldValue)
    reply.kept.come_home(Payload(b"N."))
    process.dispatched.submitted.clear()
    del upstream, reply
    await settle()
    assert owner.frames() == [] and owner.held == 1
    peer.answer(call_id)
    del dependent, ended
    await settle()
    assert [frame.kind for frame in owner.frames()] == [pb.FRAME_KIND_RELEASE]


async def test_a_value_that_is_lost_where_it_is_fails_the_call() -> None:
    """Asking again would find the same."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    _leave_large(peer, _sent(upstream, peer).id)
    dependent, failed = process.call(ByValue(reply))
    process.submitted()
    peer.arrive(_lost(_sent(dependent, peer).id))
    assert isinstance(failed.error, ObjectLostError) and process.submitted() == []


async def test_a_call_that_is_cancelled_while_it_waits_is_never_sent() -> None:
    """Whatever becomes of its arguments."""
    process, peer = Process(), serving_peer()
    upstream, reply = process.call()
    process.submitted()
    _, cancelled = process.call(ByValue(reply))
    cancelled.cancel()
    upstream.launch(peer)
    assert process.submitted() == [] and isinstance(cancelled.error, RequestCancelledError)


async def test_a_deadline_of_an_argument_is_that_of_the_call() -> None:
    """A DeadlineError, whether or not the argument has a replica."""
    process = Process()
    upstream, reply = process.call()
    process.submitted()
    _, waiting = process.call(ByValue(reply))
    upstream.expire()
    assert isinstance(waiting.error, DeadlineError) and process.submitted() == []


async def test_a_cancelled_argument_cancels_the_calls_that_wait_for_it() -> None:
    """They would have nothing to work on."""
    process = Process()
    _, reply = process.call()
    process.submitted()
    _, waiting = process.call(ByValue(reply))
    reply.cancel()
    assert isinstance(waiting.error, RequestCancelledError) and process.submitted() == []


class Mailing(Process):
    """Lives on another loop than the test."""

    def __init__(self) -> None:
        super().__init__()
        self.mail: list[Callable[[], None]] = []
        self.is_gone = False

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Done when the test says so."""
        if self.is_gone:
            raise NotServingError("the mesh of this handle was shut down")
        self.mail.append(lambda: function(*args))

    def deliver(self) -> None:
        """Now."""
        letters, self.mail = self.mail, []
        for letter in letters:
            letter()


@pytest.mark.parametrize("by_value", [True, False])
async def test_word_of_an_argument_is_taken_in_on_the_calls_own_loop(by_value: bool) -> None:
    """A response of another mesh of this process brings it on that one's thread."""
    theirs, ours, peer = Process(), Mailing(), serving_peer()
    upstream, reply = theirs.call()
    dependent, _ = ours.call(ByValue(reply) if by_value else [ObjectRef(reply)])
    peer.answer(_sent(upstream, peer).id)
    assert ours.submitted() == []
    ours.deliver()
    assert ours.submitted() == [dependent]


@pytest.mark.parametrize("by_value", [True, False])
async def test_word_of_an_argument_for_a_mesh_that_is_gone_hurts_nobody_else(
    by_value: bool,
) -> None:
    """The other mesh goes on, and whoever else waits for that response is told."""
    theirs, ours, peer = Process(), Mailing(), serving_peer()
    upstream, reply = theirs.call()
    theirs.submitted()
    ours.call(ByValue(reply) if by_value else [ObjectRef(reply)])
    dependent, _ = theirs.call(ByValue(reply) if by_value else [ObjectRef(reply)])
    ours.is_gone = True
    peer.answer(_sent(upstream, peer).id)
    assert theirs.submitted() == [dependent]


async def test_a_reference_of_a_mesh_that_is_gone_fails_the_call() -> None:
    """Nobody is left to say where the value will be."""
    theirs, ours = Mailing(), Process()
    _, reply = theirs.call()
    theirs.is_gone = True
    _, failed = ours.call([ObjectRef(reply)])
    assert isinstance(failed.error, NotServingError) and ours.submitted() == []


async def test_passable_waits_until_each_has_a_replica_or_an_end() -> None:
    """So that a result with responses in it can be sent."""
    process, peer = Process(), serving_peer()
    calls = [process.call() for _ in range(2)]
    references = encode_arguments((([ObjectRef(reply) for _, reply in calls],), {})).references
    waiting = asyncio.create_task(passable(references))
    await settle()
    peer.confirm(_sent(calls[0][0], peer).id)
    await settle()
    assert not waiting.done()
    calls[1][0].fail(KeyError("no replica"))
    await asyncio.wait_for(waiting, 5)


async def test_a_call_that_is_answered_has_no_deadline_any_more() -> None:
    """Its timer is gone with it."""
    process, peer = Process(), serving_peer()
    call, reply = process.call()
    call_id = _sent(call, peer).id
    loop = asyncio.get_running_loop()
    call.watch_deadline(loop, loop.time() + 0.001)
    peer.answer(call_id, "in time")
    await asyncio.to_thread(lambda: None)
    call.expire()
    assert reply.value() == "in time"


async def test_a_deadline_is_an_error_that_names_the_deployment() -> None:
    """And the replica is told to stop."""
    process, peer = Process(), serving_peer()
    call, reply = process.call()
    call_id = _sent(call, peer).id
    call.expire()
    with pytest.raises(DeadlineError, match="shop/Cart gave no result before the call's deadline"):
        reply.value()
    assert [(f.kind, f.id) for f in peer.frames()] == [(pb.FRAME_KIND_CANCEL, call_id)]


def test_nobody_to_take_a_call_is_told_with_the_reason() -> None:
    """Where there is one."""
    assert str(no_replica("shop/Cart", 30, "refused")) == (
        "no replica of shop/Cart took calls for 30 s: refused"
    )
    assert str(no_replica("shop/Cart", 0.5, "")).endswith("took calls for 0.5 s")
