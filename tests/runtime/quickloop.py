"""An event loop on which nobody has to wait: where all tasks sleep, the next timer's time is now.

So what a test does is the same each time, and takes no longer than its code.
"""

from __future__ import annotations

import asyncio
import selectors

# How long a turn takes, in seconds of the loop: what polls must not stand still.
_TURN = 0.0001


class _Impatient(selectors.DefaultSelector):
    """Does not wait, but notes for how long it should have."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += max(timeout or 0.0, _TURN)
        return super().select(None if timeout is None else 0)


class QuickLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        """Seconds that would have passed."""
        return self._impatient.now
