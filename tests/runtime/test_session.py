"""The link's protocol as state: whatever the order of things, each call ends exactly once."""

from __future__ import annotations

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
from meshgen.runtime.session import ERROR, REQUEST, RESPONSE, CallerSession
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.links import (
    CART,
    Requested,
    Waiting,
    a_call,
    all_of,
    connected,
    replica_session,
)

BUSY = pb.FRAME_KIND_BUSY
FAILURE = pb.Failure(kind=pb.FAILURE_KIND_USER, message="no")


class Link(RuleBasedStateMachine):
    """Both ends of a link, its two directions delayed at will."""

    @initialize()
    def connect(self) -> None:
        """A new connection, as a lost one is replaced."""
        self.caller = CallerSession()
        self.asked = Requested()
        self.replica = replica_session(self.asked)
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
        call_id = self.caller.request(a_call(), waiting)
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
        self.replica.receive(all_of(self.caller.outbox))
        self.running += [call_id for call_id, _ in self.asked.calls[before:]]
        assert [call_id for call_id, _ in self.asked.calls] == sorted(self.waiting)

    @rule()
    def deliver_to_caller(self) -> None:
        """What the replica has queued arrives."""
        self.caller.receive(all_of(self.replica.outbox))

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


def test_frames_leave_in_the_order_they_were_queued() -> None:
    """A CANCEL never overtakes its REQUEST."""
    caller, replica, asked = connected()
    first = caller.request(a_call("first"), Waiting())
    caller.cancel(first)
    caller.request(a_call("second"), Waiting())
    frames = all_of(caller.outbox)
    assert [frame.kind for frame in frames] == [REQUEST, pb.FRAME_KIND_CANCEL, REQUEST]
    replica.receive(frames)
    assert [method for _, method in asked.calls] == ["first", "second"]
    assert asked.left_calls == [first]


def test_a_call_that_was_left_counts_until_it_is_answered() -> None:
    """The replica still runs it; nobody is told of its end."""
    caller, replica, _ = connected()
    waiting = Waiting()
    call_id = caller.request(a_call(), waiting)
    caller.cancel(call_id)
    assert caller.in_flight == 1
    replica.respond(call_id, Payload(b""))
    caller.receive(all_of(replica.outbox))
    assert caller.in_flight == 0 and waiting.ends == []


def test_a_call_is_cancelled_once() -> None:
    """A second CANCEL would interrupt the clean-up after the first."""
    caller, _, _ = connected()
    call_id = caller.request(a_call(), Waiting())
    caller.cancel(call_id)
    caller.cancel(call_id)
    assert [frame.kind for frame in all_of(caller.outbox)].count(pb.FRAME_KIND_CANCEL) == 1


@pytest.mark.parametrize(
    "kind", [pb.FRAME_KIND_UNSPECIFIED, pb.FRAME_KIND_HELLO, REQUEST, pb.FRAME_KIND_CANCEL]
)
def test_a_replica_never_sends_what_a_caller_does(kind: pb.FrameKind) -> None:
    """It is not in the caller's table."""
    with pytest.raises(ProtocolError, match="a replica sent a frame of kind"):
        CallerSession().receive([pb.Frame(kind=kind)])


def test_a_replicas_state_arrives() -> None:
    """And the caller is told that it is another."""
    caller, replica, _ = connected()
    state = pb.State(phase=pb.REPLICA_PHASE_DRAINING, replica_id="7", max_ongoing_requests=3)
    replica.announce(state)
    assert caller.receive(all_of(replica.outbox))
    assert caller.state == state
    assert not caller.receive([])


def test_a_ping_is_answered_by_either_side() -> None:
    """With its own id."""
    caller, replica, _ = connected()
    ping = pb.Frame(kind=pb.FRAME_KIND_PING, id=9)
    caller.receive([ping])
    replica.receive([ping])
    for frames in (all_of(caller.outbox), all_of(replica.outbox)):
        assert [(frame.kind, frame.id) for frame in frames] == [(pb.FRAME_KIND_PONG, 9)]


def test_who_pings_is_told_of_the_pong_once() -> None:
    """Each of its own; a PONG that nobody waits for is not in the table."""
    caller, replica, _ = connected()
    pongs: list[str] = []
    caller.ping(lambda: pongs.append("first"))
    caller.ping(lambda: pongs.append("second"))
    assert caller.in_flight == 0
    first, second = all_of(caller.outbox)
    replica.receive([second])
    answer = all_of(replica.outbox)
    caller.receive(answer)
    assert pongs == ["second"]
    with pytest.raises(ProtocolError, match=f"answered ping {second.id}, which is not open"):
        caller.receive(answer)
    replica.receive([first])
    caller.receive(all_of(replica.outbox))
    assert pongs == ["second", "first"]


def test_a_question_counts_as_in_flight_until_it_is_answered() -> None:
    """A link that is about to be closed waits for the answer."""
    caller, replica, asked = connected()
    question = Waiting()
    question_id = caller.ask(pb.FRAME_KIND_FETCH, "v", question)
    assert caller.in_flight == 1
    replica.receive(all_of(caller.outbox))
    assert asked.of_values == [f"{question_id} asks FETCH v"]
    replica.respond(question_id, Payload(b"value"))
    caller.receive(all_of(replica.outbox))
    assert caller.in_flight == 0 and question.ends == ["answered"]


@pytest.mark.parametrize("end", ["answered", "failed", "refused"])
def test_a_question_takes_no_slot(end: str) -> None:
    """Neither before its answer nor, as an id that nobody uses any more, after it."""
    caller, replica, _ = connected()
    question_id = caller.ask(pb.FRAME_KIND_HOLD, "v", Waiting())
    assert caller.waiting == {question_id}
    if end == "answered":
        replica.respond(question_id, Payload(b""))
    elif end == "failed":
        replica.fail(question_id, FAILURE)
    else:
        replica.refuse(question_id)
    caller.receive(all_of(replica.outbox))
    assert caller.waiting == set()


@pytest.mark.parametrize("kind", [pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_PING, pb.FRAME_KIND_STATE])
def test_what_is_no_answer_leaves_a_call_that_waits_for_values_without_a_slot(
    kind: pb.FrameKind,
) -> None:
    """Word that its outcome will be kept, say; the ids of a replica's pings are its own."""
    caller, _, _ = connected()
    call_id = caller.request(a_call(), Waiting())
    caller.waiting.add(call_id)
    caller.receive([pb.Frame(kind=kind, id=call_id)])
    assert caller.waiting == {call_id}
    caller.lost()
    assert caller.waiting == set()


def test_questions_are_lost_with_the_link() -> None:
    """Whether they have left or not: nobody else has the answer."""
    caller, _, _ = connected()
    sent, unsent = Waiting(), Waiting()
    caller.ask(pb.FRAME_KIND_FETCH, "v", sent)
    all_of(caller.outbox)
    caller.ask(pb.FRAME_KIND_HOLD, "w", unsent)
    assert caller.lost() == ([], [sent, unsent])


def test_a_replica_is_told_what_to_keep_in_the_order_of_things() -> None:
    """A RETAIN never overtakes its REQUEST, nor a RELEASE its RETAIN."""
    caller, replica, asked = connected()
    call_id = caller.request(a_call(), Waiting())
    caller.retain(call_id, "v")
    caller.release("v")
    replica.receive(all_of(caller.outbox))
    assert asked.calls == [(call_id, "add")]
    assert asked.of_values == [f"{call_id} retained as v", "v released"]


def test_word_that_an_outcome_is_going_to_be_kept_reaches_its_call() -> None:
    """Which stays in flight: this is no answer."""
    caller, replica, _ = connected()
    waiting = Waiting()
    call_id = caller.request(a_call(), waiting)
    replica.confirm(call_id)
    assert not caller.receive(all_of(replica.outbox))
    assert (waiting.confirmed, waiting.ends, caller.in_flight) == (1, [], 1)


def test_word_of_keeping_what_nobody_waits_for_is_of_no_interest() -> None:
    """The call was left, or has ended, while it was on its way."""
    caller, replica, _ = connected()
    left, ended = Waiting(), Waiting()
    left_id, ended_id = caller.request(a_call(), left), caller.request(a_call(), ended)
    caller.cancel(left_id)
    replica.respond(ended_id, Payload(b""))
    replica.confirm(left_id)
    replica.confirm(ended_id)
    caller.receive(all_of(replica.outbox))
    assert (left.confirmed, ended.confirmed) == (0, 0)


def test_a_call_that_was_answered_can_still_be_cancelled() -> None:
    """So the replica learns that nobody comes for what the answer spoke of."""
    caller, replica, asked = connected()
    call_id = caller.request(a_call(), Waiting())
    replica.respond(call_id, Payload(b""))
    caller.receive(all_of(replica.outbox))
    caller.cancel(call_id)
    replica.receive(all_of(caller.outbox))
    assert asked.left_calls == [call_id]
