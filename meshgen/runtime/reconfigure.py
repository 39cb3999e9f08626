"""A new `user_config` for a replica that serves: SIGHUP makes it read its service.json again."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from meshgen.errors import MeshError, OptionError
from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.host import is_cancelled
from meshgen.runtime.replica import Replica
from meshgen.runtime.reports import Reports
from meshgen.specfiles import read_user_config

logger = logging.getLogger("meshgen")


def reload_signal() -> asyncio.Event:
    """An event that SIGHUP sets, which would end the process otherwise."""
    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, asked.set)
    return asked


@asynccontextmanager
async def reconfiguring(
    replica: Replica, folder: Path, asked: asyncio.Event, reports: Reports
) -> AsyncIterator[None]:
    """Reconfigure the replica whenever `asked` is set, for the length of a block."""
    task = asyncio.create_task(_follow(_Configuration(replica, folder), asked, reports))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class _Configuration:
    """What a replica was configured by last, and where it finds what is next."""

    def __init__(self, replica: Replica, folder: Path) -> None:
        self._replica = replica
        self._folder = folder
        self._last: Any = replica.spec.options.user_config
        # Of the file that was read last.
        self.edition = ""

    async def renew(self) -> None:
        """Hand over what is in the file now.

        Raises:
            OptionError: There is none any more, or nobody to take it.
            BaseException: Whatever the user's `reconfigure` raises.
        """
        config = read_user_config(self._folder)
        self.edition = config.edition
        if config.value is not None:
            self._last = config.value
            await self._replica.reconfigure(config.value)
        elif self._last is not None:
            raise OptionError(
                f"{self._replica.stub.id} has no user_config any more: this replica keeps the last "
                "one until it is started anew"
            )


async def _follow(configuration: _Configuration, asked: asyncio.Event, reports: Reports) -> None:
    while True:
        await asked.wait()
        asked.clear()
        error = await _renew(configuration)
        # An empty error takes back what was told of an earlier one.
        reports.tell(reconfigured=configuration.edition, reconfigure_error=error)


async def _renew(configuration: _Configuration) -> str:
    """What went wrong, if anything did; the replica goes on as it can."""
    try:
        await configuration.renew()
    except BaseException as exc:  # user code: SystemExit in it must not end the loop
        if is_cancelled(exc):
            raise
        text = str(exc) if isinstance(exc, MeshError) else format_user_traceback(exc)
        logger.error("reconfigure failed, the replica goes on serving: %s", text.rstrip())
        return text
    logger.info("reconfigured by the user_config of service.json")
    return ""
