"""Calls between real callers and replicas: whatever happens, each ends once, as it must, and
leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshgen.runtime.bulk import INLINE_LIMIT, KEEP_SECONDS
from meshgen.runtime.replica import Replica
from meshgen.serve.handle import DeploymentHandle
from tests.runtime.gated import GatedNetwork, GatedPeer
from tests.runtime.history import History
from tests.runtime.leftovers import leftovers
from tests.runtime.madecalls import Made
from tests.runtime.quickloop import QuickLoop
from tests.runtime.replicas import mesh_caller, settle, spec_of, started
from tests.runtime.stage import Board, Stage

T = TypeVar("T")

# By how many calls a replica takes.
SPECS = {
    limit: spec_of(Stage, max_ongoing_requests=limit, graceful_shutdown_timeout_s=1000)
    for limit in (2, 100)
}
STAGE = SPECS[2].stub.id
ENDS = ["small", "large", "error", "given"]
METHODS = ["make", "make", "keep", "wait_for"]
# Draws must not depend on what there is to choose from: that depends on the clock, too.
PICK = st.integers(0, 11)
PICKS = st.lists(PICK, max_size=2)
HOW = st.tuples(st.booleans(), st.booleans())


def _picked(pick: int, found: Sequence[T]) -> T | None:
    return found[pick % len(found)] if found else None


class MeshOfGates(RuleBasedStateMachine):
    """Callers, links, replicas and code, each of which goes on when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_lose = False
        self.runner = asyncio.Runner(loop_factory=QuickLoop)
        self.made: list[Made] = []
        self.replicas: list[Replica] = []
        self.leaving: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the example's loop."""
        return self.runner.run(work)

    async def _open(self) -> None:
        self.network = GatedNetwork()
        self.caller = mesh_caller(self.network, self.spec.stub)
        self.handle = DeploymentHandle(self.spec.stub, caller=self.caller)
        self.board = Stage.board = Board(self.handle)
        self.history = History(board=self.board, may_lose=self.may_lose)
        await self._add_replica()

    async def _add_replica(self) -> None:
        replica = await started(self.spec, self.caller, str(self.board.next_number()))
        self.network.replicas.setdefault(STAGE, []).append(replica)
        self.replicas.append(replica)

    @initialize(may_lose=st.booleans(), limit=st.sampled_from(sorted(SPECS)))
    def open(self, may_lose: bool, limit: int) -> None:
        """Where no connection ends, nothing at all may be lost."""
        self.may_lose = may_lose
        self.spec = SPECS[limit]
        self.run(self._open())

    def _picked_calls(self, picks: list[int]) -> list[Made]:
        unary = [made for made in self.made if not made.streams]
        return [unary[pick % len(unary)] for pick in picks] if unary else []

    @rule(method=st.sampled_from(METHODS), how=HOW, takes=PICKS, refers=PICKS)
    def call(
        self, method: str, how: tuple[bool, bool], takes: list[int], refers: list[int]
    ) -> None:
        """Of other calls' values, or of references to them."""
        taken, referred = self._picked_calls(takes), self._picked_calls(refers)
        # Who waits has a slot, and who is waited for may have to wait for that.
        if method == "wait_for" and self.spec is SPECS[2]:
            referred = [made for made in referred if made.is_plain]
        large, stubborn = how
        number = self.board.next_number()
        values = [made.response for made in referred]

        async def act() -> Any:
            more = [bytes(INLINE_LIMIT)] if large else []
            return getattr(self.handle, method).remote(
                number, stubborn, [*values, *more], *[made.response for made in taken]
            )

        needs = [made.number for made in (taken + referred if method == "wait_for" else taken)]
        self._add(Made(number, self.run(act()), needs, is_plain=not taken and not referred))

    def _add(self, made: Made) -> None:
        self.made.append(made)
        self.history.needs[made.number] = made.needs

    @rule(takes=PICKS)
    def call_a_generator(self, takes: list[int]) -> None:
        """Its arguments may have to be made first."""
        taken = self._picked_calls(takes)
        number = self.board.next_number()

        async def act() -> Any:
            items = self.handle.options(stream=True).items
            return items.remote(number, *[made.response for made in taken])

        self._add(Made(number, self.run(act()), [made.number for made in taken]))

    @rule(pick=PICK, how=st.sampled_from([*ENDS, "end"]))
    def go_on(self, pick: int, how: Any) -> None:
        """The code of a call gets word."""
        if (number := _picked(pick, sorted(self.board.running))) is not None:
            self.board.give_word(number, how)

    @rule(turns=st.integers(1, 8))
    def let_time_pass(self, turns: int) -> None:
        """Some turns of the loop."""
        self.run(settle(turns))

    @rule(seconds=st.sampled_from([0.005, 0.1, 1.0]))
    def wait_for_timers(self, seconds: float) -> None:
        """Replicas that have failed or refused a call, and those that came, are thought of."""
        self.run(asyncio.sleep(seconds))

    @precondition(lambda self: self.made)
    @rule(pick=PICK)
    def wait(self, pick: int) -> None:
        """Somebody awaits a response, or begins to take items."""
        made = self.made[pick % len(self.made)]

        async def act() -> None:
            made.wait()
            await settle(1)

        self.run(act())

    @precondition(lambda self: self.made)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        """The caller has no interest any more."""
        made = self.made[pick % len(self.made)]
        self.history.cancelled.add(made.number)

        async def act() -> None:
            made.response.cancel()

        self.run(act())

    @precondition(lambda self: any(made.waiter for made in self.made))
    @rule(pick=PICK)
    def cancel_who_waits(self, pick: int) -> None:
        """The last one who waits gives up the call."""
        waited_for = [made for made in self.made if made.waiter]
        made = waited_for[pick % len(waited_for)]
        self.history.cancelled.add(made.number)

        async def act() -> None:
            waiter, made.waiter = made.waiter, None
            assert waiter is not None
            waiter.cancel()
            await asyncio.wait([waiter])

        self.run(act())

    @precondition(lambda self: self.made)
    @rule(pick=PICK)
    def expire(self, pick: int) -> None:
        """A call's deadline passes."""
        made = self.made[pick % len(self.made)]
        call = None if made.streams else made.response.carrier
        if call is not None:
            self.history.expired.add(made.number)

            async def act() -> None:
                call.expire()

            self.run(act())

    @precondition(lambda self: self.made)
    @rule(pick=PICK)
    def forget(self, pick: int) -> None:
        """A response goes, and nobody has asked for its value; a stream's producer stops.

        So do the references that code has kept beyond its calls.
        """
        made = self.made[pick % len(self.made)]
        if made.waiter is None:
            self.made.remove(made)

        async def act() -> None:
            self.board.kept.clear()
            if made.waiter is None:
                made.response = None
            await settle(1)

        self.run(act())

    @rule(pick=PICK, gate=st.integers(0, 2))
    def turn_a_gate(self, pick: int, gate: int) -> None:
        """Messages of one kind wait, or go on."""
        if (peer := _picked(pick, self.open_peers())) is not None:
            peer.gates[gate].turn()

    def open_peers(self) -> list[GatedPeer]:
        """The links that there are."""
        return [peer for peer in self.network.peers if not peer.closed]

    @precondition(lambda self: len(self.network.replicas[STAGE]) < 3)
    @rule()
    def add_a_replica(self) -> None:
        """It is found soon."""
        self.run(self._add_replica())

    @precondition(lambda self: self.network.replicas[STAGE])
    @rule(pick=PICK)
    def drain(self, pick: int) -> None:
        """A replica leaves, once all it has is done."""
        replica = _picked(pick, self.network.replicas[STAGE])
        assert replica is not None
        self.network.leave(STAGE, replica)

        async def act() -> None:
            task = asyncio.get_running_loop().create_task(self._leave(replica))
            self.leaving.append(task)
            await settle(1)

        self.run(act())

    async def _leave(self, replica: Replica) -> None:
        await replica.drain()
        # Callers end their links once they know, and all is answered.
        while any(each.replica is replica for each in self.open_peers()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self.replicas.remove(replica)
        del self.network.leaving[replica.replica_id]
        await replica.close()

    @precondition(lambda self: self.may_lose)
    @rule(pick=PICK, replica_first=st.booleans())
    def lose_a_connection(self, pick: int, replica_first: bool) -> None:
        """What was there is lost; what had not left goes elsewhere."""

        async def act() -> None:
            if (peer := _picked(pick, self.open_peers())) is not None:
                peer.lose(replica_first=replica_first)

        self.run(act())

    @invariant()
    def no_code_runs_twice(self) -> None:
        """A call that may have begun is not sent again."""
        if hasattr(self, "spec"):
            assert all(count <= 1 for count in self.board.begun.values())

    async def _finish(self) -> None:
        """Everything goes on to its end."""
        await self._add_replica()
        done = asyncio.gather(*[made.wait() for made in self.made])
        async for _ in _moments():
            self._let_all_go_on()
            if done.done():
                break
        for made, outcome in zip(self.made, await done, strict=True):
            self.history.check(made, outcome)
            if isinstance(outcome, list) and not made.streams:
                await self.history.check_given(made.number, outcome[1])

    def _let_all_go_on(self) -> None:
        for peer in self.network.peers:
            for gate in peer.gates:
                gate.open()
        for number in self.board.running:
            self.board.give_word(number, "end")

    def teardown(self) -> None:
        """All that is left ends, as it must; then nothing is left."""
        try:
            if not hasattr(self, "spec"):
                return
            self.run(self._finish())
            self.run(self._nothing_is_left())
            self.run(self._close())
        finally:
            self.runner.close()

    async def _nothing_is_left(self) -> None:
        self.made.clear()
        async for count in _moments():
            # There may be calls that the test has forgotten.
            self._let_all_go_on()
            self.board.kept.clear()
            if not (found := leftovers(self.network, self.replicas, self.caller)):
                break
            assert count < 120, found
            if count in (20, 60):  # what an exception's traceback holds
                gc.collect()
            if count == 80:  # arguments of calls that have not followed them
                await asyncio.sleep(KEEP_SECONDS)

    async def _close(self) -> None:
        await self.caller.__aexit__(None, None, None)
        for task in self.leaving:
            task.cancel()
        for error in await asyncio.gather(*self.leaving, return_exceptions=True):
            assert error is None or isinstance(error, asyncio.CancelledError)
        for replica in self.replicas:
            await replica.close()
        await settle()
        assert asyncio.all_tasks() == {asyncio.current_task()}


async def _moments() -> AsyncIterator[int]:
    """One after the other, for some seconds of the loop."""
    for count in range(150):
        yield count
        await asyncio.sleep(0 if count % 10 else 0.2)
    raise TimeoutError("that took too long")


TestMeshOfGates = MeshOfGates.TestCase
TestMeshOfGates.settings = settings(deadline=None, max_examples=40, stateful_step_count=40)


@pytest.mark.slow
class TestMeshOfGatesForLong(MeshOfGates.TestCase):  # type: ignore[misc, valid-type]
    """The same, for a while."""

    settings = settings(deadline=None, max_examples=400, stateful_step_count=60)
