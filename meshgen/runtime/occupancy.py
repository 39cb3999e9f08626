"""How busy a replica is: its slots, and what it may not leave before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any


class Occupancy:
    """Counts calls against a limit. `idle` is set while nothing keeps the replica from leaving."""

    def __init__(self, limit: int, has_leftovers: Callable[[], bool]) -> None:
        self.idle: asyncio.Event = asyncio.Event()
        self.idle.set()
        # Whether calls are taken.
        self.open = False
        # Calls that run now.
        self.ongoing = 0
        # Values that links hold: their processes come for them before this replica leaves.
        self.wanted = 0
        # Large results that are on their way.
        self.handing_out = 0
        self._limit = limit
        self._has_leftovers = has_leftovers
        # Calls that have their values and wait for a slot.
        self._queue: deque[asyncio.Future[None]] = deque()
        self._loop = asyncio.get_running_loop()

    def admit(self) -> bool:
        """Take a slot for a call, if one is free and calls are taken."""
        if not self.open or self.ongoing >= self._limit:
            return False
        self.ongoing += 1
        self.idle.clear()
        return True

    async def slot(self) -> bool:
        """Wait for a slot; False once no more calls are taken."""
        while not self.admit():
            if not self.open:
                return False
            offer = self._loop.create_future()
            self._queue.append(offer)
            try:
                await offer
            except asyncio.CancelledError:
                if offer.done() and not offer.cancelled():
                    self._offer(1)
                raise
        return True

    def _offer(self, count: int) -> None:
        while self._queue and count:
            offer = self._queue.popleft()
            if not offer.done():
                offer.set_result(None)
                count -= 1

    def release(self) -> None:
        """Give a slot back."""
        self.ongoing -= 1
        if self._queue:
            self._offer(1)
        if self.ongoing == 0:
            self.note()

    def hold_for(self, thread: Future[Any]) -> None:
        """A cancelled call's thread cannot be stopped: its slot is taken until it ends."""
        self.ongoing += 1
        self.idle.clear()

        def release(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop was closed in the meantime
                self._loop.call_soon_threadsafe(self.release)

        thread.add_done_callback(release)

    def close(self) -> None:
        """Take no more calls; those that wait for a slot get none."""
        self.open = False
        self._offer(len(self._queue))

    def want(self, more: int) -> None:
        """Links hold that many values more, or fewer, than before."""
        self.wanted += more
        self.note()

    def hand_out(self, more: int) -> None:
        """So many large results more, or fewer, are on their way."""
        self.handing_out += more
        self.note()

    def note(self) -> None:
        """Look again whether something keeps the replica from leaving."""
        if self.ongoing or self.handing_out or self.wanted or self._has_leftovers():
            self.idle.clear()
        else:
            self.idle.set()
