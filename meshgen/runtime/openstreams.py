"""Streams whose first items have left over the link, until their caller reads on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from meshgen.errors import ProtocolError
from meshgen.runtime.pump import ItemPump
from meshgen.types import new_id

# A caller reads on at once: one that has not done so by then, in seconds, is gone.
_KEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Parked:
    pump: ItemPump
    timer: asyncio.TimerHandle


class OpenStreams:
    """Owns the pumps that nobody reads at the moment; `on_drop` gives a dropped one's slot back."""

    def __init__(self, on_drop: Callable[[], None]) -> None:
        self._on_drop = on_drop
        self._parked: dict[str, _Parked] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def park(self, pump: ItemPump) -> str:
        """Keep a pump and return the id to take it by."""
        stream_id = new_id()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(_KEEP_SECONDS, self.drop, stream_id)
        self._parked[stream_id] = _Parked(pump, timer)
        return stream_id

    def take(self, stream_id: str) -> ItemPump:
        """Hand a pump over to who reads it.

        Raises:
            ProtocolError: There is none of that id.
        """
        parked = self._parked.pop(stream_id, None)
        if parked is None:
            raise ProtocolError(f"no stream {stream_id} is open here (any more)")
        parked.timer.cancel()
        return parked.pump

    def drop(self, stream_id: str) -> None:
        """Nobody will read on; harmless if somebody does."""
        if stream_id in self._parked:
            task = asyncio.get_running_loop().create_task(self._close(self.take(stream_id)))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _close(self, pump: ItemPump) -> None:
        await pump.close()
        self._on_drop()

    async def close(self) -> None:
        """Drop all."""
        for stream_id in list(self._parked):
            self.drop(stream_id)
        await asyncio.gather(*self._closing)

    def __contains__(self, stream_id: str) -> bool:
        return stream_id in self._parked

    def __len__(self) -> int:
        return len(self._parked)
