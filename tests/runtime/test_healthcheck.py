"""Health checks of the user: when they count as failed, and what three in a row lead to."""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from meshgen.runtime.healthcheck import HealthCheck
from meshgen.serve.options import DeploymentOptions
from tests.runtime.replicas import lone_replica


class _Checked:
    """A health check, and what it tells: from its thread, so that a blocked loop hears it too."""

    def __init__(self, check: Callable[[], Awaitable[None]], *, timeout: float = 10.0) -> None:
        self.told: queue.Queue[tuple[int, str]] = queue.Queue()
        self.reason = ""
        self.given_up = threading.Event()

        async def run() -> None:
            await check()

        options = DeploymentOptions(health_check_period_s=0.01, health_check_timeout_s=timeout)
        self.check = HealthCheck(
            "default/D#0",
            options,
            run,
            tell=lambda count, error: self.told.put((count, error)),
            give_up=self._give_up,
        )

    def _give_up(self, reason: str) -> None:
        self.reason = reason
        self.given_up.set()

    async def hear(self) -> tuple[int, str]:
        """The next thing it tells."""
        return await asyncio.to_thread(self.told.get, timeout=10)


async def test_three_failures_in_a_row_are_enough(caplog: pytest.LogCaptureFixture) -> None:
    """Each is told and logged with the user's traceback; then nothing is asked any more."""

    async def ill() -> None:
        raise ValueError("I am ill")

    checked = _Checked(ill)
    with checked.check:
        for count in (1, 2, 3):
            told, error = await checked.hear()
            assert (told, error.splitlines()[-1]) == (count, "ValueError: I am ill")
            assert "Traceback" in error and __file__ in error and "/meshgen/runtime/" not in error
        assert await asyncio.to_thread(checked.given_up.wait, 10)
    assert checked.reason.endswith("ValueError: I am ill\n")
    said = [record.message for record in caplog.records if record.name == "meshgen"]
    logged = [each.partition(" failed: Traceback")[0] for each in said]
    assert logged == [f"default/D#0: health check {n} of 3" for n in (1, 2, 3)]
    assert checked.told.empty()


async def test_a_success_makes_earlier_failures_forgotten() -> None:
    """Only what fails three times in a row is given up."""
    outcomes = iter([False, False, True, False, False, True])
    done = asyncio.Event()

    async def sometimes() -> None:
        outcome = next(outcomes, None)
        if outcome is None:
            done.set()
        elif not outcome:
            raise ValueError("just now")

    checked = _Checked(sometimes)
    with checked.check:
        await asyncio.wait_for(done.wait(), 10)
        heard = [(await checked.hear())[0] for _ in range(6)]
    assert heard == [1, 2, 0, 1, 2, 0]
    assert not checked.given_up.is_set()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_no_exception_is_anything_but_a_failure(kind: type[BaseException]) -> None:
    """Not even those that end a loop."""

    async def quit_() -> None:
        raise kind("I quit")

    checked = _Checked(quit_)
    with checked.check:
        _, error = await checked.hear()
    assert "I quit" in error


async def test_a_check_that_does_not_end_in_time_has_failed() -> None:
    """It is cancelled, and the next one begins."""
    cancelled = asyncio.Semaphore(0)

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.release()

    checked = _Checked(hang, timeout=0.05)
    checked.check.loop_seconds = 20.0  # which is not blocked, however late it answers
    with checked.check:
        assert await checked.hear() == (1, "it did not end within 0.05 s")
        assert (await checked.hear())[0] == 2
        for _ in range(2):
            await asyncio.wait_for(cancelled.acquire(), 10)


async def test_a_blocked_loop_is_given_up_by_name() -> None:
    """Nothing of the loop's has a part in counting, or in telling whose fault it is."""

    async def fine() -> None:
        pass

    checked = _Checked(fine, timeout=0.05)
    checked.check.loop_seconds = 0.5
    with checked.check:
        await asyncio.sleep(0)
        assert checked.given_up.wait(20)  # this blocks the loop
    said = f"it did not end within 0.05 s: the event loop is blocked by {__file__}:"
    assert checked.reason.startswith(said)
    assert checked.reason.endswith("# this blocks the loop")


async def test_a_loop_that_is_blocked_for_less_is_busy() -> None:
    """Checks wait for their turn within the time they have."""
    began = threading.Event()

    async def fine() -> None:
        began.set()

    checked = _Checked(fine, timeout=20.0)
    with checked.check:
        threading.Event().wait(0.5)  # this blocks the loop; checks are due all the while
        assert await asyncio.to_thread(began.wait, 10)
    assert checked.told.empty()


async def test_nothing_is_told_once_it_is_left() -> None:
    """A check that runs then is cancelled."""
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    checked = _Checked(hang)
    with checked.check:
        await asyncio.wait_for(began.wait(), 10)
    await asyncio.wait_for(cancelled.wait(), 10)
    assert checked.told.empty()


class Plain:
    """Its check blocks, as plain functions may."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    def check_health(self) -> None:
        """Note the thread."""
        self.threads.append(threading.get_ident())


class Async:
    """Its check runs on the loop."""

    def __init__(self) -> None:
        self.threads: list[int] = []

    async def check_health(self) -> None:
        """Note the thread."""
        self.threads.append(threading.get_ident())


@pytest.mark.parametrize(("target", "on_the_loop"), [(Plain, False), (Async, True)])
async def test_a_plain_check_runs_in_a_thread(target: type, on_the_loop: bool) -> None:
    """As other plain methods do; an async one on the loop."""
    async with lone_replica(target) as replica:
        await replica.check_health()
        (thread,) = replica.context.servable_object.threads
    assert (thread == threading.get_ident()) is on_the_loop


class Quitting:
    """Its check wants to end the process."""

    def check_health(self) -> None:
        """Quit."""
        sys.exit("I quit")


class Delegating:
    """Answers to every name."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"nobody should ask for {name}")


def function() -> None:
    """A deployment without a class."""


@pytest.mark.parametrize("target", [Delegating, function])
async def test_who_has_no_check_is_healthy(target: Any) -> None:
    """Only the class is asked whether it has one."""
    async with lone_replica(target) as replica:
        await replica.check_health()


async def test_what_a_plain_check_raises_comes_back() -> None:
    """SystemExit too, which ends no thread silently."""
    async with lone_replica(Quitting) as replica:
        with pytest.raises(SystemExit, match="I quit"):
            await replica.check_health()
