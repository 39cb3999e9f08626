"""How busy a replica is: its slots, and what it may not leave before."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

# How long a call that has its values waits for a slot before it goes elsewhere, in seconds. It
# would have to fetch them again.
_PATIENCE = 5.0


class Occupancy:
    """Counts calls against a limit, and knows when nothing keeps the replica from leaving."""

    def __init__(
        self, limit: int, has_leftovers: Callable[[], bool], patience: float = _PATIENCE
    ) -> None:
        # Once somebody waits for it: set while nothing keeps the replica from leaving.
        self._idle: asyncio.Event | None = None
        # Whether calls are taken.
        self.open = False
        # Calls that run now.
        self.ongoing = 0
        # Values that links hold: their processes come for them before this replica leaves.
        self.wanted = 0
        # Called once when the next call comes, and then forgotten.
        self.on_busy: Callable[[], None] | None = None
        # Large results that are on their way.
        self.handing_out = 0
        self._limit = limit
        self._patience = patience
        self._has_leftovers = has_leftovers
        # Calls that have their values and wait for a slot.
        self._queue: deque[asyncio.Future[None]] = deque()
        # Who was sent away, in that order; told once of a slot that is free again.
        self._sent_away: dict[Callable[[], None], None] = {}
        self._loop = asyncio.get_running_loop()

    def admit(self) -> bool:
        """Take a slot for a call, if one is free and calls are taken."""
        if not self.open or self.ongoing >= self._limit:
            return False
        self.ongoing += 1
        if self.on_busy is not None:
            self.on_busy()
            self.on_busy = None
        return True

    async def slot(self) -> bool:
        """Wait for a slot; False where none is free for long, or no more calls are taken.

        Not for ever: those that have the slots may wait for this very call, which another replica
        could run.
        """
        try:
            async with asyncio.timeout(self._patience):
                return await self._slot()
        except TimeoutError:
            return False

    async def _slot(self) -> bool:
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
        elif self._sent_away and self.open:
            tell = next(iter(self._sent_away))
            del self._sent_away[tell]
            tell()
        if self.ongoing == 0:
            self.note()

    def send_away(self, tell: Callable[[], None]) -> None:
        """A call was refused: `tell` its caller of the next free slot that is its turn."""
        self._sent_away[tell] = None

    def forget(self, tell: Callable[[], None]) -> None:
        """That caller is gone."""
        self._sent_away.pop(tell, None)

    def hold_for(self, thread: Future[Any]) -> None:
        """A cancelled call's thread cannot be stopped: its slot is taken until it ends."""
        self.ongoing += 1
        self.note()

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

    async def until_idle(self) -> None:
        """Wait until nothing keeps the replica from leaving."""
        if self._idle is None:
            self._idle = asyncio.Event()
        self.note()
        await self._idle.wait()

    def note(self) -> None:
        """Look again whether something keeps the replica from leaving."""
        if self._idle is None:
            return
        if self.ongoing or self.handing_out or self.wanted or self._has_leftovers():
            self._idle.clear()
        else:
            self._idle.set()
