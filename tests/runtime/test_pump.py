"""Items on their way out: in order, together where they are ready together, and bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.runtime.pump import MAX_BYTES, MAX_ITEMS, ItemPump
from meshgen.types import Payload
from tests.runtime.replicas import settle


def _numbered(n: int) -> Payload:
    return Payload(str(n).encode())


async def _count(n: int) -> AsyncIterator[Payload]:
    for number in range(n):
        yield _numbered(number)


async def _drain(pump: ItemPump) -> list[str]:
    found: list[str] = []
    while batch := await pump.next():
        found += [bytes(item.pickle).decode() for item in batch]
    return found


def _started(items: AsyncIterator[Payload]) -> ItemPump:
    pump = ItemPump(items)
    pump.start()
    return pump


@pytest.mark.parametrize("n", [0, 1, 10, MAX_ITEMS, MAX_ITEMS + 1, 5000])
async def test_every_item_comes_out_in_order(n: int) -> None:
    """N yields are N items."""
    pump = _started(_count(n))
    assert await _drain(pump) == [str(number) for number in range(n)]
    assert pump.finished
    await pump.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_no_item_is_lost_however_producer_and_consumer_interleave(
    steps: list[tuple[int, bool]],
) -> None:
    """Each waits for a while at any item."""

    async def produce() -> AsyncIterator[Payload]:
        for number, (pause, _) in enumerate(steps):
            for _turn in range(pause):
                await asyncio.sleep(0)
            yield _numbered(number)

    async def consume() -> list[str]:
        pump = _started(produce())
        found: list[str] = []
        while batch := await pump.next():
            found += [bytes(item.pickle).decode() for item in batch]
            if steps[len(found) - 1][1]:
                await settle(2)
        await pump.close()
        return found

    assert asyncio.run(consume()) == [str(number) for number in range(len(steps))]


async def test_what_is_ready_together_travels_together() -> None:
    """A producer that never waits fills whole messages."""
    pump = _started(_count(500))
    batches = 0
    while await pump.next():
        batches += 1
    assert batches < 50
    await pump.close()


async def test_an_item_does_not_wait_for_the_next_one() -> None:
    """It leaves as soon as the producer waits for something."""
    more = asyncio.Event()

    async def produce() -> AsyncIterator[Payload]:
        yield _numbered(1)
        await more.wait()
        yield _numbered(2)

    pump = _started(produce())
    assert [item.pickle for item in await pump.next()] == [b"1"]
    assert not pump.finished
    more.set()
    assert [item.pickle for item in await pump.next()] == [b"2"]
    await pump.close()


@pytest.mark.parametrize(
    ("size", "most"), [(1, MAX_ITEMS), (MAX_BYTES // 4, 4), (2 * MAX_BYTES, 1)]
)
async def test_a_slow_consumer_bounds_the_producer(size: int, most: int) -> None:
    """In items and in bytes."""
    produced = 0

    async def produce() -> AsyncIterator[Payload]:
        nonlocal produced
        while True:
            produced += 1
            yield Payload(bytes(size))

    pump = _started(produce())
    await settle(2000)
    assert produced == most
    assert len(await pump.next()) == most
    await settle(2000)
    assert produced == 2 * most
    await pump.close()


@pytest.mark.parametrize("k", [0, 1, 7])
@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), asyncio.CancelledError()])
async def test_an_error_comes_after_the_items_before_it(k: int, error: BaseException) -> None:
    """None is lost, and the error is not mistaken for an end."""

    async def produce() -> AsyncIterator[Payload]:
        for number in range(k):
            yield _numbered(number)
        raise error

    pump = _started(produce())
    found: list[Payload] = []
    with pytest.raises(type(error)):
        while True:
            batch = await pump.next()
            assert batch, "it ended without its error"
            found += batch
    assert len(found) == k
    await pump.close()


async def test_a_producer_that_never_waits_does_not_keep_the_loop() -> None:
    """Others get their turn within milliseconds."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def produce() -> AsyncIterator[Payload]:
        while True:
            yield Payload(b"")

    pump = _started(produce())
    other = asyncio.create_task(others())
    for _ in range(20):
        await pump.next()
    assert turns > 10
    other.cancel()
    await pump.close()


@pytest.mark.parametrize("taken", [0, 1])
async def test_closing_runs_the_producers_finally(taken: int) -> None:
    """Whether it waits for something or for room; what it awaits there is awaited."""
    for full in (True, False):
        closed: list[bool] = []

        async def produce(full: bool, closed: list[bool]) -> AsyncIterator[Payload]:
            try:
                while full:
                    yield Payload(bytes(MAX_BYTES))
                yield Payload(b"")
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                closed.append(True)

        pump = _started(produce(full, closed))
        await settle()
        for _ in range(taken):
            await pump.next()
        await pump.close()
        assert closed == [True]


async def test_a_pump_that_was_never_started_closes() -> None:
    """There is nothing to stop."""
    await ItemPump(_count(3)).close()


async def test_closing_twice_is_harmless() -> None:
    """And leaves no task behind."""
    pump = _started(_count(10_000))
    await pump.next()
    await pump.close()
    await pump.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
