"""Both ends of a link, frame by frame: in whatever order, each call and question ends once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshgen.errors import ProtocolError
from meshgen.runtime.outbox import Outbox
from meshgen.runtime.replicasession import ReplicaSession
from meshgen.runtime.session import ERROR, RESPONSE, CallerSession
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.links import CART, Requested, Waiting, a_call, all_of, replica_session

BUSY, FETCH, HOLD = pb.FRAME_KIND_BUSY, pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD
PONG = pb.FRAME_KIND_PONG
FAILURE = pb.Failure(kind=pb.FAILURE_KIND_USER, message="no")
PHASES = [pb.REPLICA_PHASE_SERVING, pb.REPLICA_PHASE_DRAINING]
# What neither end may send.
NEVER = [pb.FRAME_KIND_UNSPECIFIED, 99]
ENDS = {"answered": RESPONSE, "failed": ERROR, "refused": BUSY}
ANSWERS = [*ENDS.values(), PONG]


class Wire:
    """One direction of a link: what was written and has not arrived."""

    def __init__(self) -> None:
        self.frames: deque[pb.Frame] = deque()

    def write(self, outbox: Outbox[pb.LinkRequest] | Outbox[pb.LinkResponse]) -> None:
        """All that is queued leaves."""
        self.frames.extend(all_of(outbox))

    def next(self, count: int) -> list[pb.Frame]:
        """The next frames that arrive."""
        return [self.frames.popleft() for _ in range(min(count, len(self.frames)))]


@dataclass(eq=False)
class Asked:
    """A call or question as the test knows it."""

    awaited: Waiting
    is_call: bool
    # Whether it takes no slot.
    waits: bool
    left: bool = False
    # At the caller's end: whether it has left, and whether the answer has come.
    written: bool = False
    ended: bool = False


@dataclass(eq=False)
class AtReplica(Requested):
    """What a replica was asked for and has not answered, and the answers that it gave."""

    open: set[int] = field(default_factory=set)
    told: dict[int, str] = field(default_factory=dict)
    kept: dict[int, str] = field(default_factory=dict)
    released_ids: list[str] = field(default_factory=list)

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """A call came, for the first time."""
        assert call_id not in self.open and call_id not in self.told
        super().requested(call_id, invocation)
        self.open.add(call_id)

    def asked(self, frame: pb.Frame) -> None:
        """A question came, for the first time."""
        assert frame.id not in self.open and frame.id not in self.told
        super().asked(frame)
        self.open.add(frame.id)

    def left(self, call_id: int) -> None:
        """Word that nobody waits never comes before the call itself."""
        assert call_id in self.open or call_id in self.told
        super().left(call_id)

    def retained(self, call_id: int, value_id: str) -> None:
        """As above."""
        assert call_id in self.open or call_id in self.told
        super().retained(call_id, value_id)
        self.kept[call_id] = value_id

    def released(self, value_id: str) -> None:
        """In the order of asking."""
        super().released(value_id)
        self.released_ids.append(value_id)


class LinkOfFrames(RuleBasedStateMachine):
    """A link whose frames arrive when the test says so, any number of them at a time."""

    caller: CallerSession
    replica: ReplicaSession

    @initialize()
    def connect(self) -> None:
        """A new connection, as a lost one is replaced."""
        self.caller = CallerSession()
        self.at_replica = AtReplica()
        self.replica = replica_session(self.at_replica)
        self.to_replica, self.to_caller = Wire(), Wire()
        self.asked: dict[int, Asked] = {}
        self.released: list[str] = []
        self.probes: list[int] = []
        self.probed: list[int] = []
        self.caller.hello(CART, "test")

    def open(self) -> list[int]:
        """What the caller has had no answer to."""
        return [each for each, asked in self.asked.items() if not asked.ended]

    def _began(self, asked_id: int, asked: Asked) -> None:
        assert asked_id not in self.asked
        self.asked[asked_id] = asked

    @rule(waits=st.booleans())
    def call(self, waits: bool) -> None:
        """A call is made; it may have to wait for its values over there."""
        awaited = Waiting()
        call_id = self.caller.request(a_call(), awaited)
        if waits:
            self.caller.waiting.add(call_id)
        self._began(call_id, Asked(awaited, is_call=True, waits=waits))

    @rule(kind=st.sampled_from([FETCH, HOLD]))
    def ask(self, kind: pb.FrameKind) -> None:
        """A value is wanted, or a hold on it."""
        awaited = Waiting()
        question = self.caller.ask(kind, "v", awaited)
        self._began(question, Asked(awaited, is_call=False, waits=True))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Nobody waits any more, whatever became of it."""
        asked_id = data.draw(st.sampled_from(sorted(self.asked)))
        self.asked[asked_id].left |= not self.asked[asked_id].ended
        self.caller.cancel(asked_id)

    @precondition(lambda self: any(self.asked[each].is_call for each in self.open()))
    @rule(data=st.data())
    def retain(self, data: st.DataObject) -> None:
        """The outcome of a call is wanted by others."""
        calls = [each for each in self.open() if self.asked[each].is_call]
        call_id = data.draw(st.sampled_from(calls))
        self.caller.retain(call_id, f"of {call_id}")

    @rule(value_id=st.sampled_from("vw"))
    def release(self, value_id: str) -> None:
        """A value is needed no more."""
        self.caller.release(value_id)
        self.released.append(value_id)

    @rule()
    def write_to_replica(self) -> None:
        """What the caller has queued is on its way."""
        self.to_replica.write(self.caller.outbox)
        for asked in self.asked.values():
            asked.written = True

    @rule(count=st.integers(1, 6))
    def arrive_at_replica(self, count: int) -> None:
        """Some frames arrive, in their order."""
        known = len(self.at_replica.kept)
        self.replica.receive(self.to_replica.next(count))
        for call_id in list(self.at_replica.kept)[known:]:
            if call_id in self.at_replica.open:
                self.replica.confirm(call_id)

    @precondition(lambda self: self.at_replica.open)
    @rule(data=st.data(), how=st.sampled_from(sorted(ENDS)))
    def end(self, data: st.DataObject, how: str) -> None:
        """One of the things asked ends, in any order; a value cannot be sent elsewhere."""
        asked_id = data.draw(st.sampled_from(sorted(self.at_replica.open)))
        self._end(asked_id, how)

    def _end(self, asked_id: int, how: str) -> None:
        self.at_replica.open.remove(asked_id)
        self.at_replica.told[asked_id] = how
        if how == "answered":
            self.replica.respond(asked_id, Payload(b"result"))
        elif how == "failed":
            self.replica.fail(asked_id, FAILURE)
        else:
            self.replica.refuse(asked_id)

    @rule(phase=st.sampled_from(PHASES))
    def announce(self, phase: pb.ReplicaPhase) -> None:
        """The replica serves, or leaves."""
        self.replica.announce(pb.State(phase=phase, max_ongoing_requests=3))

    @rule()
    def probe(self) -> None:
        """The replica is asked whether it is there; the answer calls back."""
        number = len(self.probes)
        self.caller.ping(lambda: self.probed.append(number))
        self.probes.append(number)

    @rule()
    def write_to_caller(self) -> None:
        """What the replica has queued is on its way."""
        self.to_caller.write(self.replica.outbox)

    @rule(count=st.integers(1, 6))
    def arrive_at_caller(self, count: int) -> None:
        """Some frames arrive, in their order; the state is the last one told."""
        frames = self.to_caller.next(count)
        states = [frame.state for frame in frames if frame.kind == pb.FRAME_KIND_STATE]
        assert self.caller.receive(frames) is bool(states)
        assert not states or self.caller.state == states[-1]
        for frame in frames:
            if frame.kind in ENDS.values():
                self.asked[frame.id].ended = True

    @rule(data=st.data(), kind=st.sampled_from(ANSWERS))
    def answer_what_is_not_open(self, data: st.DataObject, kind: pb.FrameKind) -> None:
        """Twice, or what was never asked: that ends the link, and harms no call but by that."""
        over = [each for each, asked in self.asked.items() if asked.ended]
        frame = pb.Frame(kind=kind, id=data.draw(st.sampled_from([*over, 0, 1_000_000])))
        with pytest.raises(ProtocolError, match="not open"):
            self.caller.receive([frame])
        self.lose(0)

    @rule(kind=st.sampled_from(NEVER), towards_caller=st.booleans())
    def send_what_nobody_may(self, kind: int, towards_caller: bool) -> None:
        """It ends the link, wherever it comes in."""
        frame = pb.Frame()
        frame.kind = kind  # type: ignore[assignment]  # a kind of a version to come
        with pytest.raises(ProtocolError, match="sent a frame of kind"):
            if towards_caller:
                self.caller.receive([frame])
            else:
                self.arrive_at_replica(len(self.to_replica.frames))
                self.replica.receive([frame])
        self.lose(0)

    @rule(late=st.integers(0, 6))
    def lose(self, late: int) -> None:
        """What never left may go elsewhere; the rest is lost, though it may still arrive."""
        awaited = {id(asked.awaited): each for each, asked in self.asked.items()}
        unsent, sent = ([awaited[id(each)] for each in part] for part in self.caller.lost())
        waiting = [each for each in self.open() if not self.asked[each].left]
        assert sorted([*unsent, *sent]) == waiting
        for each in waiting:
            goes_elsewhere = self.asked[each].is_call and not self.asked[each].written
            assert (each in unsent) is goes_elsewhere
        self.arrive_at_replica(late)
        assert not self.at_replica.open & set(unsent)
        assert (self.caller.calls, self.caller.waiting) == ({}, set())
        assert self.caller.lost() == ([], [])
        self.connect()

    @invariant()
    def each_has_at_most_one_end(self) -> None:
        """That which the replica gave it, unless nobody waits."""
        for asked_id, asked in self.asked.items():
            ends = [self.at_replica.told[asked_id]] if asked.ended and not asked.left else []
            assert asked.awaited.ends == ends

    @invariant()
    def what_is_open_is_counted(self) -> None:
        """In flight until the answer comes; without a slot where it takes none."""
        assert list(self.caller.calls) == self.open()
        assert self.caller.in_flight == len(self.open())
        assert self.caller.waiting == {each for each in self.open() if self.asked[each].waits}

    @invariant()
    def nothing_is_confirmed_that_was_not_asked_for(self) -> None:
        """A call is told that its outcome will be kept after the replica was asked to."""
        for asked_id, asked in self.asked.items():
            assert not asked.awaited.confirmed or asked_id in self.at_replica.kept

    def teardown(self) -> None:
        """Once all is delivered and answered, nothing is open at either end."""
        if not hasattr(self, "caller"):
            return
        self._deliver_all()
        for asked_id in sorted(self.at_replica.open):
            self._end(asked_id, "answered")
        self._deliver_all()
        assert self.open() == [] and not self.at_replica.open
        assert self.at_replica.released_ids == self.released
        assert self.probed == self.probes
        for check in (self.each_has_at_most_one_end, self.what_is_open_is_counted):
            check()

    def _deliver_all(self) -> None:
        self.write_to_replica()
        self.arrive_at_replica(len(self.to_replica.frames))
        self.write_to_caller()
        self.arrive_at_caller(len(self.to_caller.frames))


TestLinkOfFrames = LinkOfFrames.TestCase
TestLinkOfFrames.settings = settings(deadline=None, max_examples=100, stateful_step_count=40)


@pytest.mark.slow
class TestLinkOfFramesForLong(LinkOfFrames.TestCase):  # type: ignore[misc, valid-type]
    """The same, for a while."""

    settings = settings(deadline=None, max_examples=600, stateful_step_count=100)
