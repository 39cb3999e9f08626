"""Streams whose first items have left over the link, until their caller reads on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from meshgen.errors import ProtocolError
from meshgen.runtime.pump import ItemPump
from meshgen.types import new_value_id


class OpenStreams:
    """Owns the pumps that nobody reads at the moment; `on_drop` gives a dropped one's slot back.

    A caller reads on when the first items are taken, however late. It says so if it never will, and
    the end of its link says so for it.
    """

    def __init__(self, on_drop: Callable[[], None]) -> None:
        self._on_drop = on_drop
        self._parked: dict[str, ItemPump] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def park(self, pump: ItemPump) -> str:
        """Keep a pump and return the id to take it by."""
        stream_id = new_value_id()
        self._parked[stream_id] = pump
        return stream_id

    def take(self, stream_id: str) -> ItemPump:
        """Hand a pump over to who reads it.

        Raises:
            ProtocolError: There is none of that id.
        """
        pump = self._parked.pop(stream_id, None)
        if pump is None:
            raise ProtocolError(f"no stream {stream_id} is open here (any more)")
        return pump

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
