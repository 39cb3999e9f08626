"""Calls between real callers and replicas: whatever happens, each ends once, as it must, and
leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from meshgen.errors import (
    DeadlineError,
    ObjectLostError,
    ReplicaLostError,
    RequestCancelledError,
)
from meshgen.objectref import ObjectRef
from meshgen.runtime.bulk import INLINE_LIMIT, KEEP_SECONDS
from meshgen.runtime.replica import Replica
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.response import DeploymentResponse, DeploymentResponseGenerator
from tests.runtime.gated import GatedNetwork, GatedPeer
from tests.runtime.quickloop import QuickLoop
from tests.runtime.replicas import mesh_caller, settle, spec_of, started
from tests.runtime.stage import Board, NoValueError, Stage, number_of

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


@dataclass(eq=False)
class Made:
    """A call that the test has made."""

    number: int
    response: Any
    # Whose failure is this call's too.
    needs: list[int]
    # Whether it refers to no other.
    is_plain: bool = False
    # Who waits for its outcome, or takes its items.
    waiter: asyncio.Task[Any] | None = None
    # The items that were taken, and the error after them.
    found: list[Any] = field(default_factory=list)

    @property
    def streams(self) -> bool:
        """Whether it is of a generator."""
        return isinstance(self.response, DeploymentResponseGenerator)

    def wait(self) -> asyncio.Task[Any]:
        """Have somebody wait."""
        if self.waiter is None:
            work = self._items() if self.streams else _outcome(self.response)
            self.waiter = asyncio.get_running_loop().create_task(work)
        return self.waiter

    async def _items(self) -> list[Any]:
        try:
            async for item in self.response:
                self.found.append(number_of(item))
        except Exception as exc:
            self.found.append(exc)
        return self.found


async def _outcome(response: DeploymentResponse[Any]) -> Any:
    try:
        return await response
    except Exception as exc:
        return exc


class MeshOfGates(RuleBasedStateMachine):
    """Callers, links, replicas and code, each of which goes on when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.may_lose = False
        self.runner = asyncio.Runner(loop_factory=QuickLoop)
        self.made: list[Made] = []
        # Of all calls, also of those that the test has forgotten.
        self.needs: dict[int, list[int]] = {}
        self.cancelled: set[int] = set()
        self.expired: set[int] = set()
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
        self.needs[made.number] = made.needs

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
        self.cancelled.add(made.number)

        async def act() -> None:
            made.response.cancel()

        self.run(act())

    @precondition(lambda self: any(made.waiter for made in self.made))
    @rule(pick=PICK)
    def cancel_who_waits(self, pick: int) -> None:
        """The last one who waits gives up the call."""
        waited_for = [made for made in self.made if made.waiter]
        made = waited_for[pick % len(waited_for)]
        self.cancelled.add(made.number)

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
            self.expired.add(made.number)

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

    def _causes(self, number: int) -> set[int]:
        """A call, and those whose failure is its own."""
        found: set[int] = set()
        todo = [number]
        parents = {child: parent for parent, child in self.board.children.items()}
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo += self.needs.get(each, [])
                todo += [parents[each]] if each in parents else []
        return found

    def _check_error(self, number: int, error: Exception) -> None:
        """A call failed as it may."""
        causes = self._causes(number)
        if isinstance(error, NoValueError):
            (cause,) = error.args
            assert cause in causes and self.board.ends[cause] == "error"
        elif isinstance(error, RequestCancelledError):
            # A call whose deadline has passed is cancelled over there.
            assert causes & (self.cancelled | self.expired)
        elif isinstance(error, DeadlineError):
            assert causes & self.expired
        else:
            assert isinstance(error, ReplicaLostError | ObjectLostError)
            assert self.may_lose, error

    def _check(self, made: Made, outcome: Any) -> None:
        if made.streams:
            self._check_items(made.number, outcome)
        elif isinstance(outcome, Exception):
            self._check_error(made.number, outcome)
        else:
            assert number_of(outcome) == made.number
            assert self.board.begun[made.number] == 1
            assert self.board.took[made.number] == made.needs

    def _check_items(self, number: int, found: list[Any]) -> None:
        produced = self.board.yielded.get(number, [])
        if found and isinstance(found[-1], Exception):
            self._check_error(number, found.pop())
            assert found == produced[: len(found)]
        else:
            assert found == produced and self.board.ends[number] == "end"

    async def _finish(self) -> None:
        """Everything goes on to its end."""
        await self._add_replica()
        done = asyncio.gather(*[made.wait() for made in self.made])
        async for _ in _moments():
            self._let_all_go_on()
            if done.done():
                break
        for made, outcome in zip(self.made, await done, strict=True):
            self._check(made, outcome)
            if isinstance(outcome, list) and not made.streams:
                await self._check_given(made.number, outcome[1])

    def _let_all_go_on(self) -> None:
        for peer in self.network.peers:
            for gate in peer.gates:
                gate.open()
        for number in self.board.running:
            self.board.give_word(number, "end")

    async def _check_given(self, number: int, given: ObjectRef[Any]) -> None:
        child = self.board.children[number]
        try:
            assert number_of(await given) == child
        except Exception as exc:
            self._check_error(child, exc)

    def leftovers(self) -> list[str]:
        """What is still open or kept somewhere."""
        counts = {"leaving": len(self.network.leaving)}
        counts |= dict(pair for replica in self.replicas for pair in self._kept_by(replica))
        for index, peer in enumerate(self.network.peers):
            open_there = 0 if peer.closed else peer.in_flight + peer.beside
            link = f"link {index} to {peer.address}: "
            counts[link + "open"] = open_there + len(peer.session.calls)
            counts[link + "held"] = peer.held
            counts[link + "waiting"] = len(peer.session.waiting)
        for router in vars(self.caller)["_routers"].values():
            counts["queued"] = len(vars(router)["_queue"])
        return [f"{what} {count}" for what, count in counts.items() if count]

    def _kept_by(self, replica: Replica) -> Iterator[tuple[str, int]]:
        busy, name = replica.occupancy, f"replica {replica.replica_id}: "
        yield name + "ongoing", busy.ongoing
        yield name + "wanted", busy.wanted
        yield name + "handing out", busy.handing_out
        yield name + "streams", len(replica.streams)
        yield name + "results", len(replica.results)
        yield name + "uploads", len(replica.uploads)
        if replica.replica_id not in self.network.leaving:  # it forgets nothing before it is gone
            yield name + "values", len(replica.values)

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
            if not (found := self.leftovers()):
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
TestMeshOfGates.settings = settings(deadline=None, max_examples=150, stateful_step_count=40)


@pytest.mark.slow
class TestMeshOfGatesForLong(MeshOfGates.TestCase):  # type: ignore[misc, valid-type]
    """The same, for a minute."""

    settings = settings(deadline=None, max_examples=1500, stateful_step_count=60)
