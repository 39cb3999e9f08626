"""One change of an application at a time."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshgen.errors import NotServingError


class Turns:
    """Lets one task at a time change an application; a later one can end it."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        # Those that wait for their turn, too.
        self._tasks: set[asyncio.Task[object]] = set()
        self._now: dict[str, asyncio.Task[object]] = {}
        self._closed = False

    @asynccontextmanager
    async def take(self, app: str) -> AsyncIterator[None]:
        """Be the one that changes an application, for the length of a block.

        Raises:
            NotServingError: The mesh was shut down meanwhile.
        """
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with self._locks[app]:
                if self._closed:
                    raise NotServingError("the mesh was shut down")
                self._now[app] = task
                try:
                    yield
                finally:
                    del self._now[app]
        finally:
            self._tasks.discard(task)

    def interrupt(self, app: str) -> None:
        """Cancel who changes an application now."""
        if app in self._now:
            self._now[app].cancel()

    async def close(self) -> None:
        """Cancel all; nobody has a turn any more."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
