"""Ask the user's object whether it is healthy, by a thread that a blocked loop cannot stop."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from types import TracebackType
from typing import Any

from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.loopwatch import place_of
from meshgen.serve.options import DeploymentOptions

logger = logging.getLogger("meshgen")

# That many failures in a row make a replica unhealthy.
MAX_FAILURES = 3


class HealthCheck:
    """Runs `check` on the loop it is entered on, every `health_check_period_s`, until it is left.

    One that raises, or does not end within `health_check_timeout_s`, has failed. `tell` hears how
    many have failed in a row and why, `give_up` once why three have: both in a thread.
    """

    def __init__(
        self,
        name: str,
        options: DeploymentOptions,
        check: Callable[[], Coroutine[Any, Any, None]],
        *,
        tell: Callable[[int, str], None],
        give_up: Callable[[str], None],
    ) -> None:
        self._name = name
        self._period = options.health_check_period_s
        self._timeout = options.health_check_timeout_s
        self._check = check
        self._tell = tell
        self._give_up = give_up
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._running: Future[str | None] | None = None
        self._failures = 0
        # How long a loop that is not blocked may need to answer.
        self.loop_seconds = 1.0

    def __enter__(self) -> HealthCheck:
        threading.Thread(target=self._run, name="healthcheck", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()
        if self._running is not None:
            self._running.cancel()

    def _run(self) -> None:
        pause = self._period
        while not self._stopped.wait(pause):
            began = time.monotonic()
            try:
                failure = self._once()
            except (CancelledError, RuntimeError):  # the check ends with the loop, or before
                return
            if self._stopped.is_set():
                return
            self._count(failure)
            if failure is not None and self._failures == MAX_FAILURES:
                self._give_up(failure)
                return
            pause = max(0.0, began + self._period - time.monotonic())

    def _count(self, failure: str | None) -> None:
        if failure is not None:
            self._failures += 1
            logger.warning(
                "%s: health check %d of %d failed: %s",
                *(self._name, self._failures, MAX_FAILURES, failure.rstrip()),
            )
            self._tell(self._failures, failure)
        elif self._failures:
            self._failures = 0
            self._tell(0, "")

    def _once(self) -> str | None:
        """Why the check fails now, if it does."""
        running = self._running = asyncio.run_coroutine_threadsafe(self._outcome(), self._loop)
        if self._stopped.is_set():  # whoever stopped it may have been too early to see the check
            running.cancel()
        if _ends(running, self._timeout):
            return running.result()
        running.cancel()
        return f"it did not end within {self._timeout:g} s{self._blocked()}"

    async def _outcome(self) -> str | None:
        try:
            await self._check()
        except BaseException as exc:  # user code: SystemExit in a check is a failure too
            return format_user_traceback(exc)
        return None

    def _blocked(self) -> str:
        """Who keeps the loop, if anybody does."""
        answered: Future[None] = Future()
        self._loop.call_soon_threadsafe(answered.set_result, None)
        if _ends(answered, self.loop_seconds):
            return ""
        place = place_of(self._loop_thread)
        by = "" if place is None else f" by {place}"
        return f": the event loop is blocked{by}"


def _ends(awaited: Future[Any], seconds: float) -> bool:
    """Whether it ends within that time, of which a stopped process counts a small part at most."""
    part = min(1.0, seconds / 4)
    left = seconds
    while left > 0:
        if wait((awaited,), timeout=min(part, left)).done:
            return True
        left -= part
    return False
