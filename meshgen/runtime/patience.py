"""A wait for somebody else to move on, which does not last for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Patience:
    """Calls `give_up` when a time is over, unless `moved` has grown by `step` in that time.

    Owns a timer; `stop` ends it.
    """

    def __init__(
        self,
        seconds: float,
        give_up: Callable[[], None],
        *,
        moved: Callable[[], int] = lambda: 0,
        step: int = 1,
    ) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._moved = moved
        self._step = step
        self._mark = 0
        self._timer: asyncio.TimerHandle | None = None

    def set(self, waiting: bool) -> None:
        """Wait, or do not; to say the same again changes nothing."""
        if waiting:
            self.start()
        else:
            self.stop()

    def start(self) -> None:
        """Begin to wait, unless that has begun."""
        if self._timer is None:
            self._mark = self._moved()
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)

    def stop(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._moved() - self._mark >= self._step:
            self.start()
        else:
            self._give_up()
