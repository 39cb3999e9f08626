"""What a replica tells its supervisor: one line of JSON each, figures only when they change."""

from __future__ import annotations

import asyncio
import json
import os
import select
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshgen.runtime.replica import Replica

# How old what the supervisor knows of a replica's figures may be.
_PERIOD = 0.5


class Reports:
    """Writes to the supervisor's descriptor, from any thread; -1 for no supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        """Whether anybody reads them."""
        return self._descriptor >= 0

    def tell(self, **facts: Any) -> None:
        """Write one line."""
        if self:
            line = (json.dumps(facts) + "\n").encode()
            with self._lock:  # a long line is not written in one piece
                os.write(self._descriptor, line)

    def has_room(self) -> bool:
        """Whether a short line can be written at once: a supervisor may be stopped."""
        return bool(select.select((), (self._descriptor,), (), 0)[1])


@asynccontextmanager
async def reporting(
    replica: Replica, reports: Reports, *, period: float = _PERIOD
) -> AsyncIterator[None]:
    """Tell how busy the replica is and how much it keeps for others, for the length of a block."""
    task = asyncio.create_task(_report(replica, reports, period)) if reports else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _report(replica: Replica, reports: Reports, period: float) -> None:
    told = dict.fromkeys(_figures(replica), 0)  # which a constructor may have changed already
    changed = asyncio.Event()
    changed.set()
    replica.values.on_change = changed.set
    while True:
        # While calls run they are looked at; the first call after a rest says that there are some.
        if replica.occupancy.ongoing or told["ongoing"]:
            changed.set()
        else:
            replica.occupancy.on_busy = changed.set
        await changed.wait()
        changed.clear()
        # What else changes meanwhile is told along with it.
        await asyncio.sleep(period)
        figures = _figures(replica)
        if figures == told:
            continue
        if not reports.has_room():
            changed.set()
            continue
        reports.tell(**{name: figures[name] for name in figures if figures[name] != told[name]})
        told = figures


def _figures(replica: Replica) -> dict[str, int]:
    stats = replica.values.stats
    return {
        "ongoing": replica.occupancy.ongoing,
        "stored_values": stats.count,
        "stored_bytes": stats.bytes + stats.spilled_bytes,
    }
