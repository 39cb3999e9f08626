"""Values kept for others: each is there while it is held, gone after, and never waited for in vain.

Whatever the order of things, the store ends empty.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from meshgen.errors import ObjectLostError
from meshgen.runtime.values import UpstreamError, ValueStats, ValueStore
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import settle, short_folder, until

T = TypeVar("T")

VALUE = Payload(b"value", [b"buffer"])
FAILURE = pb.Failure(kind=pb.FAILURE_KIND_USER, message="division by zero")
NOTHING = ValueStats(count=0, bytes=0, spilled_bytes=0)


@contextmanager
def _store(folder: Path | None = None, *, capacity: int = 1 << 20) -> Iterator[ValueStore]:
    store = ValueStore("app/Adder#0", capacity=capacity, spill_dir=folder)
    try:
        yield store
    finally:
        store.close()


async def _waiting(store: ValueStore, value_id: str) -> asyncio.Task[Payload]:
    """A `get` that has begun."""
    task = asyncio.create_task(store.get(value_id))
    await settle()
    assert not task.done()
    return task


async def test_a_value_is_there_for_everyone_who_asks() -> None:
    """Also when it is asked for twice."""
    with _store() as store:
        store.put("a", VALUE)
        assert await store.get("a") is VALUE
        assert await store.get("a") is VALUE
        assert "a" in store


async def test_a_get_waits_for_the_outcome() -> None:
    """However many wait."""
    with _store() as store:
        store.expect("a")
        first, second = await _waiting(store, "a"), await _waiting(store, "a")
        store.put("a", VALUE)
        assert await first is VALUE
        assert await second is VALUE


async def test_a_value_never_heard_of_is_lost() -> None:
    """At once: nobody is told of a value before it is announced here."""
    with _store() as store:
        with pytest.raises(ObjectLostError, match="a value of app/Adder#0 is not there"):
            await asyncio.wait_for(store.get("a"), 1.0)
        store.put("a", VALUE)
        assert await store.get("a") is VALUE


async def test_what_was_released_before_it_was_here_is_gone() -> None:
    """Whatever comes after."""
    with _store() as store:
        store.release("a")
        store.put("a", VALUE)
        with pytest.raises(ObjectLostError, match="is gone"):
            await store.get("a")


async def test_a_released_value_is_gone_at_once() -> None:
    """The error says whose it was, why it went, and what to do."""
    with _store() as store:
        store.put("a", VALUE)
        store.release("a")
        assert "a" not in store
        with pytest.raises(
            ObjectLostError,
            match="a value of app/Adder#0 is gone: everyone who held it has let go of it; keep the",
        ):
            await asyncio.wait_for(store.get("a"), 1.0)


async def test_each_hold_needs_its_own_release() -> None:
    """Announcing a value is one hold; putting it then is none."""
    with _store() as store:
        store.expect("a")
        store.put("a", VALUE)
        store.hold("a")
        store.release("a")
        assert await store.get("a") is VALUE
        store.release("a")
        assert len(store) == 0


async def test_what_is_not_here_cannot_be_held() -> None:
    """Whether it is gone or was never here."""
    with _store() as store:
        with pytest.raises(ObjectLostError, match="is not there"):
            store.hold("a")
        store.put("a", VALUE)
        store.release("a")
        with pytest.raises(ObjectLostError, match="is gone"):
            store.hold("a")


async def test_a_failed_value_raises_what_its_caller_was_told() -> None:
    """For those who waited and those who come later."""
    with _store() as store:
        store.expect("a")
        task = await _waiting(store, "a")
        store.fail("a", FAILURE)
        for getting in (task, store.get("a")):
            with pytest.raises(UpstreamError, match="division by zero") as raised:
                await getting
            assert raised.value.failure is FAILURE


async def test_a_failed_value_is_held_and_released_like_any() -> None:
    """Until then it is counted."""
    with _store() as store:
        store.fail("a", FAILURE)
        assert store.stats == ValueStats(count=1, bytes=0, spilled_bytes=0)
        store.release("a")
        assert store.stats == NOTHING
        with pytest.raises(ObjectLostError, match="is gone"):
            await store.get("a")


async def test_a_pending_value_that_is_released_is_lost_to_those_who_wait() -> None:
    """A wait is not a hold."""
    with _store() as store:
        store.expect("a")
        first, second = await _waiting(store, "a"), await _waiting(store, "a")
        store.release("a")
        for task in (first, second):
            with pytest.raises(ObjectLostError, match="is gone"):
                await task


async def test_a_value_that_was_put_reaches_a_get_even_if_it_is_released_right_away() -> None:
    """The outcome was there, and the `get` before it."""
    with _store() as store:
        store.expect("a")
        task = await _waiting(store, "a")
        store.put("a", VALUE)
        store.release("a")
        assert await task is VALUE


@pytest.mark.parametrize("fails", [False, True])
async def test_an_outcome_that_everyone_has_let_go_of_is_dropped(fails: bool) -> None:
    """Nothing brings the value back."""
    with _store() as store:
        store.expect("a")
        store.release("a")
        if fails:
            store.fail("a", FAILURE)
        else:
            store.put("a", VALUE)
        assert store.stats == NOTHING
        with pytest.raises(ObjectLostError, match="is gone"):
            await store.get("a")


async def test_an_outcome_let_go_of_long_ago_is_still_dropped() -> None:
    """A slow call outlives the memory of what is gone."""
    with _store() as store:
        store.expect("slow")
        store.release("slow")
        for number in range(5000):
            store.release(str(number))
        store.put("slow", VALUE)
        assert store.stats == NOTHING


async def test_what_is_gone_stays_gone() -> None:
    """Ids are not used twice."""
    with _store() as store:
        store.put("a", VALUE)
        store.release("a")
        store.expect("a")
        store.put("a", VALUE)
        store.fail("a", FAILURE)
        assert store.stats == NOTHING


async def test_the_first_outcome_counts() -> None:
    """And announcing a value that is here is no further hold."""
    with _store() as store:
        store.put("a", VALUE)
        store.fail("a", FAILURE)
        store.put("a", Payload(b"other"))
        store.expect("a")
        assert await store.get("a") is VALUE
        store.release("a")
        assert len(store) == 0


async def test_old_ids_are_forgotten() -> None:
    """The memory of what is gone is bounded: the oldest count as never heard of."""
    with _store() as store:
        for number in range(4097):
            store.release(str(number))
        with pytest.raises(ObjectLostError, match="is not there"):
            await store.get("0")
        with pytest.raises(ObjectLostError, match="is gone"):
            await store.get("1")


async def test_a_cancelled_get_disturbs_no_other() -> None:
    """Nor the value."""
    with _store() as store:
        store.expect("a")
        first, second = await _waiting(store, "a"), await _waiting(store, "a")
        at_once = await _waiting(store, "a")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert repr(store) == "<ValueStore app/Adder#0: 1 values, 2 waiting>"
        at_once.cancel()
        store.put("a", VALUE)
        assert await second is VALUE
        with pytest.raises(asyncio.CancelledError):
            await at_once
        store.expect("b")
        third = await _waiting(store, "b")
        third.cancel()
        await asyncio.gather(third, return_exceptions=True)
        assert repr(store) == "<ValueStore app/Adder#0: 2 values, 0 waiting>"
        store.put("b", VALUE)
        assert await store.get("b") is VALUE


async def test_stats_count_values_and_bytes(tmp_path: Path) -> None:
    """Pending and failed ones have no bytes."""
    with _store(tmp_path, capacity=10) as store:
        store.expect("pending")
        store.fail("failed", FAILURE)
        store.put("a", Payload(b"123", [b"45"]))
        assert store.stats == ValueStats(count=3, bytes=5, spilled_bytes=0)
        store.put("b", Payload(b"12345678"))
        moved = ValueStats(count=4, bytes=8, spilled_bytes=5)
        await until(lambda: store.stats == moved)
        for value_id in ("pending", "failed", "a", "b"):
            store.release(value_id)
        assert store.stats == NOTHING


async def test_every_change_is_told(tmp_path: Path) -> None:
    """With the stats as they are then; moves to disk included, holds not."""
    with _store(tmp_path, capacity=0) as store:
        told: list[ValueStats] = []
        store.on_change = lambda: told.append(store.stats)
        store.expect("a")
        store.put("a", Payload(b"1"))
        store.hold("a")
        await until(lambda: len(told) == 3)
        store.release("a")
        store.release("a")
        store.release("a")
    assert told == [
        ValueStats(count=1, bytes=0, spilled_bytes=0),
        ValueStats(count=1, bytes=1, spilled_bytes=0),
        ValueStats(count=1, bytes=0, spilled_bytes=1),
        NOTHING,
    ]


async def test_the_last_value_that_goes_is_told() -> None:
    """A replica that leaves waits for it."""
    with _store() as store:
        counts: list[int] = []
        store.on_empty = lambda: counts.append(len(store))
        store.put("a", VALUE)
        store.put("b", VALUE)
        store.release("a")
        assert not counts
        store.release("b")
        assert counts == [0]


async def test_a_value_comes_back_from_disk(tmp_path: Path) -> None:
    """Equal, and writable."""
    with _store(tmp_path, capacity=0) as store:
        store.put("a", VALUE)
        await until(lambda: store.stats.spilled_bytes == VALUE.size)
        back = await store.get("a")
        assert back is not VALUE
        assert bytes(back.pickle) == VALUE.pickle
        assert back.buffers == [bytearray(b"buffer")]
        assert not any(memoryview(buffer).readonly for buffer in back.buffers)


async def test_a_value_on_disk_is_not_taken_away_under_its_reader(tmp_path: Path) -> None:
    """Its release waits for the reader, and then leaves nothing."""
    value = Payload(bytes(1_000_000))
    with _store(tmp_path, capacity=0) as store:
        store.put("a", value)
        await until(lambda: store.stats.spilled_bytes == value.size)
        task = asyncio.create_task(store.get("a"))
        await settle(1)
        store.release("a")
        assert store.stats == NOTHING
        assert (await task).pickle == value.pickle
        await until(lambda: not any(path.is_file() for path in tmp_path.rglob("*")))


async def test_a_file_deleted_by_others_is_an_error_that_says_so(tmp_path: Path) -> None:
    """Not a wait, and not an error of the operating system."""
    with _store(tmp_path, capacity=0) as store:
        store.put("a", VALUE)
        await until(lambda: store.stats.spilled_bytes > 0)
        for path in tmp_path.rglob("*.value"):  # noqa: ASYNC240 - nothing else runs
            path.unlink()
        with pytest.raises(ObjectLostError, match="a value of app/Adder#0 is gone: its file"):
            await store.get("a")


async def test_closing_leaves_no_file(tmp_path: Path) -> None:
    """Nor a value."""
    with _store(tmp_path, capacity=0) as store:
        for number in range(10):
            store.put(str(number), VALUE)
        await until(lambda: store.stats.spilled_bytes > 0)
    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - nothing else runs
    assert store.stats == NOTHING


async def test_closing_ends_every_wait(tmp_path: Path) -> None:
    """For values that are pending and on disk."""
    with _store(tmp_path, capacity=0) as store:
        store.put("on disk", Payload(bytes(50_000_000)))
        await until(lambda: store.stats.spilled_bytes > 0, seconds=60)
        store.expect("pending")
        waiting = await _waiting(store, "pending")
        reading = asyncio.create_task(store.get("on disk"))
        await settle(1)
    with pytest.raises(ObjectLostError, match="the replica has stopped"):
        await waiting
    outcome = (await asyncio.gather(reading, return_exceptions=True))[0]
    assert isinstance(outcome, Payload | ObjectLostError)


async def test_a_closed_store_takes_nothing() -> None:
    """Calls that end late do no harm."""
    with _store() as store:
        store.put("a", VALUE)
    store.expect("b")
    store.put("c", VALUE)
    store.fail("d", FAILURE)
    store.release("a")
    assert store.stats == NOTHING
    with pytest.raises(ObjectLostError, match="the replica has stopped"):
        await store.get("a")
    with pytest.raises(ObjectLostError, match="the replica has stopped"):
        store.hold("a")


async def test_stores_do_not_share_a_folder() -> None:
    """Many replicas use one temporary folder."""
    with short_folder() as root, _store(root, capacity=0) as store:
        with _store(root, capacity=0) as other:
            for each, value in ((store, Payload(b"1")), (other, Payload(b"2"))):
                each.put("a", value)
                await until(lambda each=each: each.stats.spilled_bytes == 1)  # type: ignore[misc]  # mypy cannot infer defaults
            assert (await other.get("a")).pickle == b"2"
        assert (await store.get("a")).pickle == b"1"


IDS = st.sampled_from("abcde")
PAYLOADS = st.builds(Payload, st.binary(max_size=6), st.lists(st.binary(max_size=6), max_size=2))


@dataclass
class Expected:
    """What the model says of one id."""

    holds: int = 0
    outcome: Payload | pb.Failure | None = None
    gone: bool = False


@dataclass
class Getting:
    """A `get` under way, and what it must end with once that is known."""

    value_id: str
    task: asyncio.Task[Payload]
    outcome: Payload | pb.Failure | None = None
    lost: bool = False

    @property
    def decided(self) -> bool:
        """Whether it must end."""
        return self.lost or self.outcome is not None


@dataclass
class Model:
    """What must hold, in the plainest way to say it."""

    values: dict[str, Expected] = field(default_factory=dict)
    waiting: list[Getting] = field(default_factory=list)

    def of(self, value_id: str) -> Expected:
        """What is known of an id."""
        return self.values.setdefault(value_id, Expected())

    def settle(self, value_id: str, outcome: Payload | pb.Failure) -> None:
        """An outcome came."""
        value = self.of(value_id)
        if value.gone or value.outcome is not None:
            return
        value.outcome, value.holds = outcome, value.holds or 1
        for getting in self.undecided(value_id):
            getting.outcome = outcome

    def release(self, value_id: str) -> None:
        """One hold fewer."""
        value = self.of(value_id)
        value.holds = max(value.holds - 1, 0)
        if not value.holds:
            value.gone, value.outcome = True, None
            for getting in self.undecided(value_id):
                getting.lost = True

    def undecided(self, value_id: str) -> list[Getting]:
        """Who waits for a value."""
        return [g for g in self.waiting if g.value_id == value_id and not g.decided]


class StoreMachine(RuleBasedStateMachine):
    """Any sequence of operations, with values going to disk all the time."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = short_folder()
        self.root = self.folder.__enter__()
        self.store = ValueStore("app/Adder#0", capacity=8, spill_dir=self.root)
        self.model = Model()

    def run(self, work: Coroutine[None, None, T]) -> T:
        """Run to its end on the store's loop."""
        return self.runner.run(work)

    @rule(value_id=IDS)
    def expect(self, value_id: str) -> None:
        """A value is announced."""

        async def act() -> None:
            self.store.expect(value_id)

        self.run(act())
        value = self.model.of(value_id)
        if not value.gone and not value.holds:
            value.holds = 1

    @rule(value_id=IDS, payload=PAYLOADS)
    def put(self, value_id: str, payload: Payload) -> None:
        """Its outcome comes."""

        async def act() -> None:
            self.store.put(value_id, payload)

        self.run(act())
        self.model.settle(value_id, payload)

    @rule(value_id=IDS)
    def fail(self, value_id: str) -> None:
        """Or its error."""

        async def act() -> None:
            self.store.fail(value_id, FAILURE)

        self.run(act())
        self.model.settle(value_id, FAILURE)

    @rule(value_id=IDS)
    def hold(self, value_id: str) -> None:
        """Only what is here can be held."""
        value = self.model.of(value_id)
        if value.holds:
            self.store.hold(value_id)
            value.holds += 1
            return
        with pytest.raises(ObjectLostError):
            self.store.hold(value_id)

    @rule(value_id=IDS)
    def release(self, value_id: str) -> None:
        """Whether it is here or not."""

        async def act() -> None:
            self.store.release(value_id)

        self.run(act())
        self.model.release(value_id)

    @rule(value_id=IDS)
    def get(self, value_id: str) -> None:
        """It need not have its outcome yet."""

        async def act() -> asyncio.Task[Payload]:
            task = asyncio.create_task(self.store.get(value_id))
            await settle(1)
            return task

        value = self.model.of(value_id)
        getting = Getting(value_id, self.run(act()), value.outcome, not value.holds)
        self.model.waiting.append(getting)

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Somebody stops waiting."""
        index = data.draw(st.integers(0, len(self.model.waiting) - 1))
        getting = self.model.waiting.pop(index)
        getting.task.cancel()
        self.run(self._ended(getting.task))

    @rule()
    def collect(self) -> None:
        """Every `get` that must have ended ends as it must; the others wait on."""
        self.run(settle())
        for getting in [g for g in self.model.waiting if g.decided]:
            self.model.waiting.remove(getting)
            self._check(getting)
        assert not any(getting.task.done() for getting in self.model.waiting)

    @invariant()
    def the_stats_are_those_of_the_model(self) -> None:
        """Wherever the bytes are."""
        held = {name: value for name, value in self.model.values.items() if value.holds}
        outcomes = [value.outcome for value in held.values()]
        stats = self.store.stats
        assert stats.count == len(self.store) == len(held)
        assert all(name in self.store for name in held)
        assert stats.bytes + stats.spilled_bytes == sum(
            outcome.size for outcome in outcomes if isinstance(outcome, Payload)
        )

    def teardown(self) -> None:
        """Whoever held a value lets go of it: nothing is left, in memory or on disk."""
        for name, value in list(self.model.values.items()):
            while value.holds:
                self.release(name)
        self.collect()
        assert self.store.stats == NOTHING
        assert not self.model.waiting
        assert repr(self.store).endswith("0 values, 0 waiting>")
        self.run(until(lambda: not any(path.is_file() for path in self.root.rglob("*"))))
        self.store.close()
        assert not any(self.root.iterdir())
        self.runner.close()
        self.folder.__exit__(None, None, None)

    async def _ended(self, task: asyncio.Task[Payload]) -> object:
        return (await asyncio.gather(task, return_exceptions=True))[0]

    def _check(self, getting: Getting) -> None:
        ended, outcome = self.run(self._ended(getting.task)), getting.outcome
        if getting.lost:
            assert isinstance(ended, ObjectLostError)
        elif isinstance(outcome, Payload):
            assert isinstance(ended, Payload)
            assert ended.pickle == outcome.pickle
            assert list(ended.buffers) == list(outcome.buffers)
        else:
            assert isinstance(ended, UpstreamError)
            assert ended.failure is outcome


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)
