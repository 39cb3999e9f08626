"""The router's decisions: whatever replicas and callers do, each call ends, and ends once."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    ReplicaLostError,
    RequestCancelledError,
)
from meshgen.reply import Reply
from meshgen.runtime.budget import MOST_ATTEMPTS
from meshgen.runtime.router import Router
from meshgen.runtime.session import REQUEST
from meshgen.runtime.unarycall import UnaryCall
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer
from tests.runtime.quickloop import QuickLoop
from tests.runtime.replicas import settle
from tests.runtime.routes import IDEMPOTENT, SERVING, STUB, Replicas, Setup

T = TypeVar("T")

ADDRESSES = st.sampled_from("abc")
# Draws must not depend on what there is to choose from: replicas are picked by chance.
PICK = st.integers(0, 11)
LIMIT = SERVING.max_ongoing_requests
DRAINING = pb.State(phase=pb.REPLICA_PHASE_DRAINING, max_ongoing_requests=LIMIT)


@dataclass(eq=False)
class Called:
    """A call that the test has made, and its copies that have reached a replica."""

    reply: Reply
    call: UnaryCall
    is_idempotent: bool
    # How often a replica has got it and not sent it away.
    begun: int = 0
    refused: int = 0
    is_answered: bool = False
    was_cancelled: bool = False
    was_expired: bool = False


@dataclass(eq=False)
class AtPeer:
    """A call that has reached a replica and has no answer."""

    peer: ScriptedPeer
    call_id: int
    number: int


def _number(call: Any) -> int:
    """The one argument that the test gave a call."""
    (number,), _ = pickle.loads(call.arguments.pickle)
    return int(number)


class Routes(RuleBasedStateMachine):
    """A router, replicas that do what the test says, and calls."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=QuickLoop)
        self.called: dict[int, Called] = {}
        self.launched: set[int] = set()
        self.reached: list[AtPeer] = []
        self.pings: list[tuple[ScriptedPeer, int]] = []
        self.answers = 0
        self.repeats = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the example's loop."""
        return self.runner.run(work)

    @initialize(max_queued=st.sampled_from([-1, -1, 2]))
    def open(self, max_queued: int) -> None:
        """A router that knows no replica yet."""
        self.max_queued = max_queued

        async def act() -> None:
            self.replicas = Replicas()
            stub = replace(STUB, max_queued_requests=max_queued)
            self.router = Router(stub, self.replicas, self.replicas.connect, patience=1e9)
            self.setup = Setup(self.router, self.replicas)

        self.run(act())

    @rule(is_idempotent=st.booleans(), session=st.sampled_from(["", "", "s", "t"]))
    def call(self, is_idempotent: bool, session: str) -> None:
        """A call is made."""
        number = len(self.called)
        policy = IDEMPOTENT if is_idempotent else None

        async def act() -> None:
            queued = len(self.queue())
            reply = self.setup.call(number, session=session, policy=policy)
            if reply.done:
                assert isinstance(reply.error, BackPressureError) and queued >= self.max_queued >= 0
                call: Any = None
            else:
                call = reply.carrier
            self.called[number] = Called(reply, call, is_idempotent)

        self.run(act())

    def queue(self) -> list[int]:
        """The calls that wait in this process, in their order."""
        return [_number(call) for call in vars(self.router)["_queue"]]

    def open_peers(self) -> list[ScriptedPeer]:
        """The connections that there are."""
        return [peer for peer in self.replicas.peers.values() if not peer.closed]

    @rule(address=ADDRESSES)
    def appear(self, address: str) -> None:
        """A replica can be found."""
        if address not in self.replicas.found:
            self.replicas.found.append(address)

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.3, 20.0]))
    def wait(self, seconds: float) -> None:
        """Afterwards nothing waits while a replica has room, or while one could be found."""

        async def act() -> None:
            await asyncio.sleep(seconds)
            await settle(3)
            if seconds >= 0.3 and self.queue():
                assert not any(peer.has_room() for peer in self.router.members.serving)
            if seconds == 20.0 and self.queue():
                assert all(
                    at in self.replicas.peers and not self.replicas.peers[at].closed
                    for at in self.replicas.found
                )

        self.run(act())

    @rule(pick=PICK, state=st.sampled_from([SERVING, SERVING, DRAINING]))
    def tell(self, pick: int, state: pb.State) -> None:
        """A replica takes calls, or no more."""

        async def act() -> None:
            if (peer := _picked(pick, self.open_peers())) is not None:
                peer.tell(state)

        self.run(act())

    @rule(pick=PICK)
    def write(self, pick: int) -> None:
        """What is queued for a replica leaves."""
        if (peer := _picked(pick, self.open_peers())) is not None:
            self._write(peer)

    def _write(self, peer: ScriptedPeer) -> None:
        for frame in peer.frames():
            if frame.kind == REQUEST:
                (number,), _ = pickle.loads(frame.invocation.arguments.pickle)
                self.called[number].begun += 1
                self.reached.append(AtPeer(peer, frame.id, number))
            elif frame.kind == pb.FRAME_KIND_PING:
                self.pings.append((peer, frame.id))

    @rule(pick=PICK)
    def answer(self, pick: int) -> None:
        """A replica has done a call."""
        if (at := _picked(pick, self.reached)) is not None:
            self.run(self._answer(at))

    async def _answer(self, at: AtPeer) -> None:
        self.reached.remove(at)
        called = self.called[at.number]
        was_done = called.reply.done
        self.answers += 1
        at.peer.answer(at.call_id, str(at.number))
        assert called.reply.done
        called.is_answered = not was_done

    @rule(pick=PICK)
    def refuse(self, pick: int) -> None:
        """A replica is full, as others call it too."""
        if (at := _picked(pick, self.reached)) is None:
            return
        self.reached.remove(at)
        called = self.called[at.number]
        called.begun -= 1
        called.refused += 1

        async def act() -> None:
            was_done = called.reply.done
            at.peer.refuse(at.call_id)
            assert called.reply.done == was_done

        self.run(act())

    @rule(pick=PICK)
    def pong(self, pick: int) -> None:
        """A replica that has failed before is there."""
        if (ping := _picked(pick, self.pings)) is not None:
            self.pings.remove(ping)
            peer, ping_id = ping
            if not peer.closed:
                self.run(_arrive(peer, pb.Frame(kind=pb.FRAME_KIND_PONG, id=ping_id)))

    @rule(pick=PICK, is_gone=st.booleans())
    def lose(self, pick: int, is_gone: bool) -> None:
        """A connection ends: what never left is not lost, what did goes again only if it may."""
        if (peer := _picked(pick, self.open_peers())) is None:
            return
        if is_gone and peer.address in self.replicas.found:
            self.replicas.found.remove(peer.address)
        there = [at for at in self.reached if at.peer is peer]
        self.reached = [at for at in self.reached if at.peer is not peer]
        waiting = [at.number for at in there if not self.called[at.number].reply.done]

        async def act() -> None:
            peer.lose("broken pipe")

        self.run(act())
        again = {each for each in waiting if not self.called[each].reply.done}
        assert all(self.called[each].is_idempotent for each in again)
        assert all(self.called[each].begun < MOST_ATTEMPTS for each in again)
        self.repeats += bool(again)
        # As gRPC's retryThrottling: five events, and one more for each ten answers.
        assert self.repeats < 5 + self.answers / 10

    @rule(pick=PICK, expire=st.booleans())
    def give_up(self, pick: int, expire: bool) -> None:
        """Nobody waits any more, or the deadline has passed."""
        called = _picked(pick, [each for each in self.called.values() if not each.reply.done])
        if called is None:
            return

        async def act() -> None:
            if expire:
                called.was_expired = True
                called.call.expire()
            else:
                called.was_cancelled = True
                called.reply.cancel()

        self.run(act())

    @invariant()
    def each_call_is_in_one_place(self) -> None:
        """It waits here, or is at one replica, until it has ended."""
        if not self.called:
            return
        queue = self.queue()
        there = [
            _number(call)
            for peer in self.open_peers()
            for call in peer.session.calls.values()
            if call is not None
        ]
        self.launched |= set(there)
        waiting = [number for number, each in self.called.items() if not each.reply.done]
        assert sorted(queue + there) == waiting

    @invariant()
    def first_come_first_served(self) -> None:
        """No call has left before one that was made earlier."""
        waiting = {number for number, each in self.called.items() if not each.reply.done}
        last = max(self.launched, default=-1)
        assert not {number for number in waiting - self.launched if number < last}

    @invariant()
    def no_replica_has_more_than_it_takes(self) -> None:
        """Calls that nobody waits for count: they still run there."""
        if self.called:
            assert all(len(peer.session.calls) <= LIMIT for peer in self.open_peers())

    @invariant()
    def what_is_not_idempotent_runs_once(self) -> None:
        """Sent away does not count."""
        for each in self.called.values():
            assert each.begun <= (MOST_ATTEMPTS if each.is_idempotent else 1)

    @invariant()
    def each_end_has_its_cause(self) -> None:
        """The answer of its own, or the error that says what happened."""
        for number, each in self.called.items():
            error = each.reply.error
            if isinstance(error, RequestCancelledError):
                assert each.was_cancelled
            elif isinstance(error, DeadlineError):
                assert each.was_expired
            elif isinstance(error, BackPressureError):
                assert self.max_queued >= 0 and not each.begun
            elif error is not None:
                assert isinstance(error, ReplicaLostError) and each.begun
            elif each.reply.done:
                assert each.is_answered and each.reply.value() == str(number)

    def teardown(self) -> None:
        """All that waits is done, once there is a replica that does it."""
        try:
            if hasattr(self, "router"):
                self.run(self._finish())
        finally:
            self.runner.close()

    async def _finish(self) -> None:
        if "z" not in self.replicas.found:
            self.replicas.found.append("z")
        for _ in range(300):
            for peer in self.open_peers():
                if peer.address == "z" and not peer.serving:
                    peer.tell(SERVING)
                # Also what was given up before it left.
                self._write(peer)
            if self._is_quiet():
                break
            for at in self.reached[:1]:
                await self._answer(at)
            await asyncio.sleep(0.05)
        assert self._is_quiet()
        self.each_end_has_its_cause()
        assert not self.queue()
        await self.router.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    def _is_quiet(self) -> bool:
        """Whether every call has ended, here and there."""
        open_there = [peer.in_flight or peer.session.waiting for peer in self.open_peers()]
        return all(each.reply.done for each in self.called.values()) and not any(open_there)


async def _arrive(peer: ScriptedPeer, frame: pb.Frame) -> None:
    peer.arrive(frame)


def _picked(pick: int, found: Sequence[T]) -> T | None:
    return found[pick % len(found)] if found else None


TestRoutes = Routes.TestCase
TestRoutes.settings = settings(deadline=None, max_examples=40, stateful_step_count=50)


@pytest.mark.slow
class TestRoutesForLong(Routes.TestCase):  # type: ignore[misc, valid-type]
    """The same, for a while."""

    settings = settings(deadline=None, max_examples=300, stateful_step_count=60)
