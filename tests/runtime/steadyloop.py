"""An event loop whose time stands still while its process does.

Where both ends of a connection are in this process, limits of fractions of a second mean what they
say then, however busy the machine is with something else.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")

# How long a turn may take, in seconds of the loop, beyond what it was to wait.
_TURN = 0.005


class _Steady(selectors.DefaultSelector):
    """Counts no more than it was told to wait, and a turn."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._last = time.monotonic()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(timeout)
        last, self._last = self._last, time.monotonic()
        passed = self._last - last
        self.now += passed if timeout is None else min(passed, max(timeout, 0.0) + _TURN)
        return found


class SteadyLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self._steady = _Steady()
        super().__init__(self._steady)

    def time(self) -> float:
        """Seconds in which this process could do something."""
        return self._steady.now


def on_a_steady_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test there."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=SteadyLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run
