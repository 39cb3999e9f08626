"""The link's protocol as state: whatever the order of things, each call ends exactly once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from meshgen.errors import ProtocolError
from meshgen.runtime.frames import PROTOCOL_VERSION, read_payload
from meshgen.runtime.session import (
    BATCH_BYTES,
    ERROR,
    REQUEST,
    RESPONSE,
    CallerSession,
    Outbox,
    ReplicaSession,
)
from meshgen.types import Call, DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import settle

BUSY = pb.FRAME_KIND_BUSY
CART = DeploymentID("shop", "Cart")
FAILURE = pb.Failure(kind=pb.FAILURE_KIND_USER, message="no")


@dataclass(eq=False)
class Waiting:
    """A call as the session sees it; notes what became of it."""

    ends: list[str] = field(default_factory=list)

    def answered(self, frame: pb.Frame) -> None:
        """Its outcome."""
        self.ends.append("failed" if frame.kind == pb.FRAME_KIND_ERROR else "answered")

    def refused(self, frame: pb.Frame) -> None:
        """To be sent elsewhere."""
        self.ends.append("refused")


@dataclass(eq=False)
class Requested:
    """What a replica was asked for."""

    calls: list[tuple[int, str]] = field(default_factory=list)
    left_calls: list[int] = field(default_factory=list)

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """A call came."""
        self.calls.append((call_id, invocation.method))

    def left(self, call_id: int) -> None:
        """A call was cancelled."""
        self.left_calls.append(call_id)


def _call(method: str = "add", size: int = 4) -> Call:
    return Call(method, Payload(bytes(size)), RequestContext())


def _all(outbox: Outbox[pb.LinkRequest] | Outbox[pb.LinkResponse]) -> list[pb.Frame]:
    """Every queued frame, as the other side reads it."""
    frames: list[pb.Frame] = []
    while (message := outbox.take()) is not None:
        frames += type(message).FromString(message.SerializeToString()).frames
    return frames


class Link(RuleBasedStateMachine):
    """Both ends of a link, its two directions delayed at will."""

    @initialize()
    def connect(self) -> None:
        """A new connection, as a lost one is replaced."""
        self.caller = CallerSession()
        self.asked = Requested()
        self.replica = ReplicaSession(CART, self.asked)
        self.caller.hello(CART, "test")
        self.waiting: dict[int, Waiting] = {}
        self.left: set[int] = set()
        # At the replica: those that run, and what it has answered.
        self.running: list[int] = []
        self.answers: dict[int, str] = {}

    @rule()
    def request(self) -> None:
        """A call is made."""
        waiting = Waiting()
        call_id = self.caller.request(_call(), waiting)
        assert call_id not in self.waiting
        self.waiting[call_id] = waiting

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Nobody waits any more, whatever became of the call."""
        call_id = data.draw(st.sampled_from(sorted(self.waiting)))
        if not self.waiting[call_id].ends:
            self.left.add(call_id)
        self.caller.cancel(call_id)

    @rule()
    def deliver_to_replica(self) -> None:
        """What the caller has queued arrives."""
        before = len(self.asked.calls)
        self.replica.receive(_all(self.caller.outbox))
        self.running += [call_id for call_id, _ in self.asked.calls[before:]]
        assert [call_id for call_id, _ in self.asked.calls] == sorted(self.waiting)

    @rule()
    def deliver_to_caller(self) -> None:
        """What the replica has queued arrives."""
        self.caller.receive(_all(self.replica.outbox))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), how=st.sampled_from(["answered", "failed", "refused"]))
    def end(self, data: st.DataObject, how: str) -> None:
        """A call ends at the replica, in any order."""
        call_id = data.draw(st.sampled_from(self.running))
        self.running.remove(call_id)
        self.answers[call_id] = how
        if how == "answered":
            self.replica.respond(call_id, Payload(b"result"))
        elif how == "failed":
            self.replica.fail(call_id, FAILURE)
        else:
            self.replica.refuse(call_id)

    @rule(data=st.data(), kind=st.sampled_from([RESPONSE, ERROR, BUSY]))
    def answer_what_is_not_open(self, data: st.DataObject, kind: pb.FrameKind) -> None:
        """Twice, or a call that never was: not in the table."""
        over = sorted(set(self.waiting) - set(self.caller.calls)) + [1_000_000]
        frame = pb.Frame(kind=kind, id=data.draw(st.sampled_from(over)))
        with pytest.raises(ProtocolError, match="not open"):
            self.caller.receive([frame])

    @rule()
    def lose(self) -> None:
        """The connection ends: what never left may go elsewhere, the rest is lost."""
        waiting = {id(call): call_id for call_id, call in self.waiting.items()}
        unsent, sent = ({waiting[id(call)] for call in calls} for calls in self.caller.lost())
        came = {call_id for call_id, _ in self.asked.calls}
        over = {call_id for call_id, call in self.waiting.items() if call.ends}
        assert unsent | sent == set(self.waiting) - over - self.left
        assert not unsent & came and sent <= came
        assert self.caller.in_flight == 0
        self.connect()

    @invariant()
    def each_call_has_at_most_one_end(self) -> None:
        """The one that the replica gave it, unless nobody waits."""
        for call_id, call in getattr(self, "waiting", {}).items():
            assert call.ends in ([], [self.answers.get(call_id)])
            assert not (call.ends and call_id in self.left)

    def teardown(self) -> None:
        """Once all is delivered and answered, nothing is in flight and nobody waits."""
        if not hasattr(self, "caller"):
            return
        self.deliver_to_replica()
        for call_id in self.running:
            self.answers[call_id] = "answered"
            self.replica.respond(call_id, Payload(b""))
        self.deliver_to_caller()
        assert self.caller.in_flight == 0
        assert self.left == {call_id for call_id, call in self.waiting.items() if not call.ends}


TestLink = Link.TestCase


def _connected() -> tuple[CallerSession, ReplicaSession, Requested]:
    caller, asked = CallerSession(), Requested()
    replica = ReplicaSession(CART, asked)
    caller.hello(CART, "test")
    replica.receive(_all(caller.outbox))
    return caller, replica, asked


def test_frames_leave_in_the_order_they_were_queued() -> None:
    """A CANCEL never overtakes its REQUEST."""
    caller, replica, asked = _connected()
    first = caller.request(_call("first"), Waiting())
    caller.cancel(first)
    caller.request(_call("second"), Waiting())
    frames = _all(caller.outbox)
    assert [frame.kind for frame in frames] == [REQUEST, pb.FRAME_KIND_CANCEL, REQUEST]
    replica.receive(frames)
    assert [method for _, method in asked.calls] == ["first", "second"]
    assert asked.left_calls == [first]


def test_a_result_arrives_with_its_payload() -> None:
    """Inline, or as the id to fetch it by."""
    caller, replica, asked = _connected()
    replica.respond(1, Payload(b"data", [b"buffer"]))
    replica.respond(2, "kept-here")
    inline, kept = _all(replica.outbox)
    assert read_payload(inline.payload) == Payload(b"data", [bytearray(b"buffer")])
    assert kept.payload.payload_id == "kept-here"


def test_a_call_that_was_left_counts_until_it_is_answered() -> None:
    """The replica still runs it; nobody is told of its end."""
    caller, replica, _ = _connected()
    waiting = Waiting()
    call_id = caller.request(_call(), waiting)
    caller.cancel(call_id)
    assert caller.in_flight == 1
    replica.respond(call_id, Payload(b""))
    caller.receive(_all(replica.outbox))
    assert caller.in_flight == 0 and waiting.ends == []


def test_a_call_is_cancelled_once() -> None:
    """A second CANCEL would interrupt the clean-up after the first."""
    caller, _, _ = _connected()
    call_id = caller.request(_call(), Waiting())
    caller.cancel(call_id)
    caller.cancel(call_id)
    assert [frame.kind for frame in _all(caller.outbox)].count(pb.FRAME_KIND_CANCEL) == 1


def test_all_that_is_queued_leaves_as_one_message() -> None:
    """Batching is what pays."""
    caller, _, _ = _connected()
    for _ in range(100):
        caller.request(_call(), Waiting())
    message = caller.outbox.take()
    assert message is not None and len(message.frames) == 100
    assert caller.outbox.take() is None


@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_a_message_stops_growing(size: int) -> None:
    """What is queued behind a batch of big frames need not wait for all of them."""
    caller, _, _ = _connected()
    count = 3 * BATCH_BYTES // size if size > 1 else 10
    for _ in range(count):
        caller.request(_call(size=size), Waiting())
    frames = 0
    while (message := caller.outbox.take()) is not None:
        frames += len(message.frames)
        assert sum(len(f.invocation.arguments.pickle) for f in message.frames) < BATCH_BYTES + size
    assert frames == count


async def test_the_writer_sleeps_until_there_is_something() -> None:
    """And ends once the outbox is closed and empty."""
    outbox: Outbox[pb.LinkRequest] = Outbox(pb.LinkRequest)
    waiting = asyncio.create_task(outbox.next())
    await settle()
    assert not waiting.done()
    outbox.add().id = 7
    message = await waiting
    assert message is not None and [frame.id for frame in message.frames] == [7]
    outbox.add().id = 8
    outbox.close()
    assert await outbox.next() is not None
    assert await outbox.next() is None


async def test_a_writer_that_was_cancelled_does_not_stop_the_next_one() -> None:
    """What is queued is still there."""
    outbox: Outbox[pb.LinkRequest] = Outbox(pb.LinkRequest)
    waiting = asyncio.create_task(outbox.next())
    await settle()
    waiting.cancel()
    await settle()
    outbox.add().id = 7
    assert await outbox.next() is not None


def test_another_version_of_the_protocol_is_refused() -> None:
    """The sentence says who speaks what, and what to do."""
    _, replica, _ = _connected()
    hello = pb.Hello(protocol=PROTOCOL_VERSION + 1, deployment="shop/Cart", caller="shop/Till#1")
    with pytest.raises(ProtocolError, match=r"shop/Till#1 speaks version 2 .* build both"):
        replica.receive([pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello)])


def test_a_caller_that_means_another_deployment_is_refused() -> None:
    """An address may have a new owner."""
    caller = CallerSession()
    caller.hello(DeploymentID("shop", "Till"), "driver")
    with pytest.raises(
        ProtocolError, match="driver means to call shop/Till, but this is shop/Cart"
    ):
        ReplicaSession(CART, Requested()).receive(_all(caller.outbox))


def test_a_caller_that_does_not_say_who_it_means_is_refused() -> None:
    """Its first frame is a HELLO, or it speaks something else."""
    caller, asked = CallerSession(), Requested()
    caller.request(_call(), Waiting())
    with pytest.raises(ProtocolError, match="before it said which deployment it means"):
        ReplicaSession(CART, asked).receive(_all(caller.outbox))
    assert asked.calls == []


@pytest.mark.parametrize(
    "kind", [pb.FRAME_KIND_UNSPECIFIED, pb.FRAME_KIND_HELLO, REQUEST, pb.FRAME_KIND_CANCEL]
)
def test_a_replica_never_sends_what_a_caller_does(kind: pb.FrameKind) -> None:
    """It is not in the caller's table."""
    with pytest.raises(ProtocolError, match="a replica sent a frame of kind"):
        CallerSession().receive([pb.Frame(kind=kind)])


@pytest.mark.parametrize(
    "kind", [pb.FRAME_KIND_UNSPECIFIED, pb.FRAME_KIND_STATE, RESPONSE, ERROR, BUSY]
)
def test_a_caller_never_sends_what_a_replica_does(kind: pb.FrameKind) -> None:
    """It is not in the replica's table."""
    _, replica, _ = _connected()
    with pytest.raises(ProtocolError, match="a caller sent a frame of kind"):
        replica.receive([pb.Frame(kind=kind)])


def test_a_replicas_state_arrives() -> None:
    """And the caller is told that it is another."""
    caller, replica, _ = _connected()
    state = pb.State(phase=pb.REPLICA_PHASE_DRAINING, replica_id="7", max_ongoing_requests=3)
    replica.announce(state)
    assert caller.receive(_all(replica.outbox))
    assert caller.state == state
    assert not caller.receive([])


def test_a_ping_is_answered_by_either_side() -> None:
    """With its own id."""
    caller, replica, _ = _connected()
    ping = pb.Frame(kind=pb.FRAME_KIND_PING, id=9)
    caller.receive([ping])
    replica.receive([ping])
    for frames in (_all(caller.outbox), _all(replica.outbox)):
        assert [(frame.kind, frame.id) for frame in frames] == [(pb.FRAME_KIND_PONG, 9)]
        caller.receive(frames)
        replica.receive(frames)
