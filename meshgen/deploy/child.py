"""One process of a local mesh: started, watched, restarted with back-off, stopped."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from meshgen.deploy.output import ProcessOutput
from meshgen.serve.schema import ReplicaState

logger = logging.getLogger("meshgen")

# Seconds between restarts: at first and at most; and how long a run counts as a good one.
_BACKOFF = (0.1, 10.0)
_GOOD_RUN = 10.0
# What a process gets between SIGTERM and SIGKILL beyond the time it may drain.
_STOP_MARGIN = 5.0
# How long the output of a process that has ended may go on, by what it has left behind.
_LAST_WORDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """How to start a process: a module of meshgen, its environment and the descriptors it gets."""

    name: str
    module: str
    environment: Mapping[str, str]
    descriptors: Sequence[int] = ()
    working_dir: str | None = None
    # How long it may take from SIGTERM to its end.
    drain_seconds: float = 20.0
    # How often a constructor that raises is tried again before the process counts as failed.
    retries: int = 0


@dataclass
class Child:
    """Keeps one process running until `stop`; tells of output and state changes by hooks."""

    command: Command
    on_line: Callable[[str, str, bool], None]
    on_change: Callable[[], None]
    # Called when the process is gone, however it went.
    clean_up: Callable[[], None] = lambda: None
    state: ReplicaState = ReplicaState.STARTING
    restarts: int = 0
    last_error: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    _process: asyncio.SubprocessTransport | None = None
    _task: asyncio.Task[None] | None = None
    _stopping: bool = False
    _served: bool = False
    _attempts: int = 0

    @property
    def pid(self) -> int | None:
        """The process id while one runs."""
        if self._process is None or self._process.get_returncode() is not None:
            return None
        return self._process.get_pid()

    def start(self) -> None:
        """Begin to keep it running."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running())

    async def stop(self, *, at_once: bool = False) -> None:
        """SIGTERM, time to drain, SIGKILL; or SIGKILL `at_once`. Returns when it is gone."""
        self._stopping = True
        if self.state is ReplicaState.FAILED:  # it is gone, and its status tells why
            return
        self._set(ReplicaState.STOPPING)
        if self._task is None:
            return
        self._signal(signal.SIGKILL if at_once else signal.SIGTERM)
        if self.pid is None:
            self._task.cancel()
        timeout = self.command.drain_seconds + _STOP_MARGIN
        _, running = await asyncio.wait([self._task], timeout=timeout)
        if running:
            logger.warning("%s did not end within %g s: killed", self.command.name, timeout)
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._task])
        if self.state is ReplicaState.STOPPING:  # it was cancelled before its first step
            self._set(ReplicaState.STOPPED)

    def kill(self) -> None:
        """End the process at once; it is not started again."""
        self._stopping = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _set(self, state: ReplicaState) -> None:
        self.state = state
        self.on_change()

    async def _keep_running(self) -> None:
        delay, most = _BACKOFF
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping:
                began = loop.time()
                await self._run_once()
                if self._stopping or not self._may_restart():
                    break
                self.restarts += 1
                delay = _BACKOFF[0] if loop.time() - began > _GOOD_RUN else delay
                logger.warning("%s: restarts in %.1f s", self.last_error, delay)
                self._set(ReplicaState.BACKOFF)
                await asyncio.sleep(delay)
                delay = min(most, delay * 2)
        finally:
            self._set(ReplicaState.STOPPED if self._stopping else ReplicaState.FAILED)

    def _may_restart(self) -> bool:
        """Whether it has served before, or its constructor may be tried once more."""
        self._attempts += 1
        return self._served or self._attempts <= self.command.retries

    async def _run_once(self) -> None:
        """Start the process and follow it to its end."""
        self.facts.clear()
        self._set(ReplicaState.STARTING)
        read_end, write_end = os.pipe()
        reports = asyncio.create_task(self._follow_reports(read_end))
        output = ProcessOutput(partial(self.on_line, self.command.name))
        try:
            try:
                self._process = await self._spawn(output, write_end)
            finally:
                os.close(write_end)
            await self._until_over(self._process, output, reports)
        except OSError as exc:
            self.last_error = f"{self.command.name} cannot be started: {exc}"
        finally:
            reports.cancel()
            await asyncio.gather(reports, return_exceptions=True)

    async def _spawn(self, output: ProcessOutput, report_fd: int) -> asyncio.SubprocessTransport:
        environment = {**self.command.environment, "MESHGEN_REPORT_FD": str(report_fd)}
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: output,
            *(sys.executable, "-P", "-m", self.command.module),
            env=environment,
            cwd=self.command.working_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*self.command.descriptors, report_fd),
            # Ctrl-C is for the supervisor, which stops the others in order.
            start_new_session=True,
        )
        return transport

    async def _until_over(
        self,
        process: asyncio.SubprocessTransport,
        output: ProcessOutput,
        reports: asyncio.Task[None],
    ) -> None:
        """Follow a process to its end, and end what it leaves behind."""
        if self._stopping:
            self._signal(signal.SIGTERM)
        try:
            await output.exited.wait()
            _kill_group(process.get_pid())
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS):
                    await output.closed.wait()
                    await reports
        finally:
            process.close()
            self.clean_up()
        if not self._stopping and not self.last_error:
            status = _describe(process.get_returncode())
            self.last_error = f"{self.command.name} ended unexpectedly ({status})"

    async def _follow_reports(self, read_end: int) -> None:
        reader = asyncio.StreamReader(limit=2**24)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            async for line in reader:
                self._reported(json.loads(line))
        finally:
            transport.close()

    def _reported(self, facts: dict[str, Any]) -> None:
        self.facts.update(facts)
        if facts.get("phase") == "serving" and not self._stopping:
            self._served = True
            self.last_error = ""
            self._set(ReplicaState.RUNNING)
        elif facts.get("phase") == "failed":
            self.last_error = f"{self.command.name} failed:\n{facts['error']}"


def _kill_group(leader: int) -> None:
    """End what a process has started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _describe(status: int | None) -> str:
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
