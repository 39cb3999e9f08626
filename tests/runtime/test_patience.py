"""A wait that ends unless somebody moves on."""

from __future__ import annotations

import asyncio

from meshgen.runtime.patience import Patience


async def test_it_gives_up_on_who_does_not_move() -> None:
    """Once, also if it was begun twice."""
    given_up = asyncio.Queue[str]()
    patience = Patience(0.01, lambda: given_up.put_nowait("x"))
    patience.start()
    patience.start()
    async with asyncio.timeout(5):
        assert await given_up.get() == "x"
    assert given_up.empty()


async def test_who_moves_on_has_the_time_anew() -> None:
    """By a step at least."""
    seen: list[int] = []
    given_up = asyncio.Event()

    def moved() -> int:
        seen.append(min(30, 10 * len(seen)))
        return seen[-1]

    patience = Patience(0.001, given_up.set, moved=moved, step=10)
    patience.start()
    async with asyncio.timeout(5):
        await given_up.wait()
    assert seen[-2:] == [30, 30]


async def test_a_wait_that_was_stopped_is_over() -> None:
    """Nobody gives up."""
    later = asyncio.Event()
    patience = Patience(0.001, lambda: (_ for _ in ()).throw(AssertionError()))
    patience.set(True)
    patience.set(False)
    Patience(0.01, later.set).start()
    async with asyncio.timeout(5):
        await later.wait()
