"""Run a command again whenever a source file changes: `meshgen run --reload`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import watchfiles

# A mesh drains for at most this long before its successor starts, in seconds.
_STOP_SECONDS = 30.0


async def run_with_reload(
    arguments: Sequence[str], folder: Path, tell: Callable[[str], None]
) -> None:
    """Run `meshgen ARGUMENTS` as a process, and start it anew at each change below `folder`.

    A command that fails, by a syntax error say, is started again by the next change.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    lifeline = os.pipe()
    process = await _start(arguments, lifeline[0])
    try:
        async for changes in watchfiles.awatch(
            folder, watch_filter=watchfiles.PythonFilter(), stop_event=stop
        ):
            names = sorted({Path(path).name for _, path in changes})
            tell(f"{', '.join(names)} changed: starting anew")
            await _stop(process)
            process = await _start(arguments, lifeline[0])
    finally:
        await _stop(process)


async def _start(arguments: Sequence[str], lifeline_fd: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "meshgen", *arguments),
        env={**os.environ, "MESHGEN_LIFELINE_FD": str(lifeline_fd)},
        pass_fds=(lifeline_fd,),
        start_new_session=True,
    )


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
