"""How to start a process of this machine's mesh."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshgen.deploy.crashes import Pace
from meshgen.deploy.output import ProcessOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A module of meshgen, its environment, the descriptors it gets, and the time it has."""

    name: str
    module: str
    environment: Mapping[str, str]
    descriptors: Sequence[int] = ()
    working_dir: str | None = None
    # How long it may take from SIGTERM to its end.
    drain_seconds: float = 20.0
    # What it gets beyond that before it is killed.
    kill_margin: float = 5.0
    # How often a constructor that raises is tried again before the process counts as failed.
    retries: int = 0
    pace: Pace = Pace()

    async def start(self, output: ProcessOutput, report_fd: int) -> asyncio.SubprocessTransport:
        """Start it; it reports on that descriptor.

        Raises:
            OSError: It cannot be started.
        """
        environment = {**self.environment, "MESHGEN_REPORT_FD": str(report_fd)}
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: output,
            *(sys.executable, "-P", "-m", self.module),
            env=environment,
            cwd=self.working_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*self.descriptors, report_fd),
            # Ctrl-C is for the supervisor, which stops the others in order.
            start_new_session=True,
        )
        return transport
