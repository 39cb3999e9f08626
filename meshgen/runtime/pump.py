"""Items of a stream on their way out: what is ready together leaves together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from meshgen.types import Payload

# A producer this far ahead of its consumer waits. In items and in bytes.
MAX_ITEMS = 1024
MAX_BYTES = 512 * 1024
# How long a producer that never waits may keep the event loop to itself.
_SLICE_SECONDS = 0.0005


class ItemPump:
    """Runs a producer and hands out batches of its items. Owns its task from `start` to `close`."""

    def __init__(self, items: AsyncIterator[Payload]) -> None:
        self._source = items
        self._ready: list[Payload] = []
        self._bytes = 0
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to produce."""
        self._task = asyncio.create_task(self._produce())

    async def close(self) -> None:
        """Stop the producer; its `finally` has run when this returns."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        # Its traceback holds this pump, and every stream that the user's frames consumed: those
        # would stop no sooner than the garbage collector finds the circle.
        self._error = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to be handed out, an error included."""
        return self._ended and not self._ready and self._error is None

    async def next(self) -> list[Payload]:
        """All items that are ready, at least one; none once the producer has ended.

        Raises:
            BaseException: The producer's error, after the items before it.
        """
        while not self._ready and not self._ended:
            self._changed.clear()
            await self._changed.wait()
        batch, self._ready, self._bytes = self._ready, [], 0
        self._room.set()
        if not batch and self._error is not None:
            raise self._error
        return batch

    async def _produce(self) -> None:
        try:
            await self._collect()
        except BaseException as exc:  # user code: SystemExit too is an error to its caller
            self._error = exc
        finally:
            self._ended = True
            self._changed.set()

    async def _collect(self) -> None:
        source = self._source
        resume = time.perf_counter() + _SLICE_SECONDS
        try:
            async for item in source:
                self._ready.append(item)
                self._bytes += item.size
                if len(self._ready) == 1:
                    self._changed.set()
                if len(self._ready) >= MAX_ITEMS or self._bytes >= MAX_BYTES:
                    self._room.clear()
                    await self._room.wait()
                elif time.perf_counter() > resume:
                    await asyncio.sleep(0)
                    resume = time.perf_counter() + _SLICE_SECONDS
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
