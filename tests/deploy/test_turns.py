"""One change of an application at a time."""

from __future__ import annotations

import asyncio

import pytest

from meshgen.deploy.turns import Turns
from meshgen.errors import NotServingError


async def _change(turns: Turns, app: str, log: list[str], go_on: asyncio.Event) -> None:
    async with turns.take(app):
        log.append(f"{app} begins")
        await go_on.wait()
        log.append(f"{app} ends")


async def test_changes_of_one_application_wait_for_each_other() -> None:
    """Those of another do not."""
    turns, log, go_on = Turns(), list[str](), asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for app in ("a", "a", "b"):
            group.create_task(_change(turns, app, log, go_on))
        group.create_task(asyncio.sleep(0)).add_done_callback(lambda _: go_on.set())
    assert log == ["a begins", "b begins", "a ends", "b ends", "a begins", "a ends"]


async def test_a_change_that_is_interrupted_makes_room_for_the_next() -> None:
    """Only the one that is under way ends."""
    turns, log, go_on = Turns(), list[str](), asyncio.Event()
    async with asyncio.timeout(10):
        turns.interrupt("a")
        first, second = (asyncio.ensure_future(_change(turns, "a", log, go_on)) for _ in range(2))
        await asyncio.sleep(0)
        turns.interrupt("a")
        go_on.set()
        await asyncio.gather(first, second, return_exceptions=True)
    assert first.cancelled()
    assert log == ["a begins", "a begins", "a ends"]


async def test_nobody_has_a_turn_after_the_end() -> None:
    """Those that had or awaited one are cancelled."""
    turns, log = Turns(), list[str]()
    tasks = [asyncio.ensure_future(_change(turns, "a", log, asyncio.Event())) for _ in range(2)]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await turns.close()
    assert all(task.cancelled() for task in tasks)
    with pytest.raises(NotServingError, match="was shut down"):
        async with turns.take("a"):
            pass
