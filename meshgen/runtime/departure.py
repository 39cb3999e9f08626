"""How the process of a replica is made to leave: told to by a signal, or given up as unhealthy."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from meshgen.runtime.process import stop_signal
from meshgen.runtime.replica import Replica
from meshgen.runtime.reports import Reports
from meshgen.settings import leaving_mark

logger = logging.getLogger("meshgen")

# What an unhealthy replica gets beyond the time it may drain, to end by itself.
_END_SECONDS = 2.0


class Departure:
    """Waits for the reason to leave, and tells the world at once. `status` is the exit status."""

    def __init__(
        self, replica: Replica, listen: str, set_health: Callable[[bool], None], reports: Reports
    ) -> None:
        self._replica = replica
        self._listen = listen
        self._set_health = set_health
        self._reports = reports
        self._stop = stop_signal()
        self._loop = asyncio.get_running_loop()
        self.status = 0

    async def due(self) -> None:
        """Wait until it is time to leave; nobody new finds this replica from then on."""
        await self._stop.wait()
        self._announce()

    def give_up(self, error: str) -> None:
        """Leave as unhealthy, with exit status 1, even if the loop never turns again.

        For a thread: it does not return.
        """
        logger.error("%s is unhealthy and ends, to be started again", self._replica.origin)
        self.status = 1
        self._reports.tell(phase="unhealthy", error=error)
        self._announce()
        self._loop.call_soon_threadsafe(self._stop.set)
        time.sleep(self._replica.spec.options.graceful_shutdown_timeout_s + _END_SECONDS)
        logger.error("%s could not end by itself", self._replica.origin)
        os._exit(1)

    def _announce(self) -> None:
        """Probes hear that it leaves, and its socket is not looked for any more.

        Who was told of values here still finds it.
        """
        self._set_health(False)
        if self._listen.startswith("unix:"):
            leaving_mark(Path(self._listen.removeprefix("unix:"))).touch()
