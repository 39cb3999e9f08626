"""One process of a local mesh: started, watched, restarted with back-off, stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from meshgen.deploy.command import Command
from meshgen.deploy.crashes import Crashes
from meshgen.deploy.output import ProcessOutput
from meshgen.deploy.reports import follow_reports
from meshgen.serve.schema import ReplicaState

logger = logging.getLogger("meshgen")

# What a process may report of why it ends.
_SAID = {"failed": "failed", "unhealthy": "was unhealthy"}
# How long the output of a process that has ended may go on, by what it has left behind.
_LAST_WORDS = 2.0


@dataclass(eq=False)
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
    _serving_since: float | None = None
    _attempts: int = 0
    _crashes: Crashes = field(init=False)
    # What the process that runs has said of why it is going to end.
    _told: str = ""

    def __post_init__(self) -> None:
        self._crashes = Crashes(self.command.pace)

    @property
    def pid(self) -> int | None:
        """The process id while one runs."""
        if self._process is None or self._process.get_returncode() is not None:
            return None
        return self._process.get_pid()

    @property
    def crash_loop(self) -> str:
        """What is to be said of its crash loop; empty if it is in none."""
        crashes = self._crashes
        if not crashes.is_loop or crashes.is_good(self._served_for()):
            return ""
        return (
            f"{self.command.name} is in a crash loop: it has ended {crashes.in_a_row} times in a "
            f"row without having served for {crashes.pace.good_run:g} s, and is tried again every "
            f"{crashes.pace.longest:g} s"
        )

    @property
    def trouble(self) -> str:
        """Why it is not as it should be; empty if it is."""
        if loop := self.crash_loop:
            return f"{loop}. The last time: {self.last_error}"
        return self._told if self.state is ReplicaState.RUNNING else self.last_error

    def _served_for(self) -> float:
        if self._serving_since is None:
            return 0.0
        return asyncio.get_running_loop().time() - self._serving_since

    def start(self) -> None:
        """Begin to keep it running."""
        self._task = asyncio.get_running_loop().create_task(self._keep_running())

    def leave(self, *, at_once: bool = False) -> None:
        """Ask it to stop; `stop` waits for its end."""
        self._stopping = True
        if self.state is ReplicaState.FAILED:  # it is gone, and its status tells why
            return
        self._set(ReplicaState.STOPPING)
        self._signal(signal.SIGKILL if at_once else signal.SIGTERM)

    async def stop(self, *, at_once: bool = False, spent: float = 0.0) -> None:
        """SIGTERM, time to drain, SIGKILL; or SIGKILL `at_once`. Returns when it is gone.

        Of its time to drain, `spent` seconds are over already.
        """
        self.leave(at_once=at_once)
        if self._task is None or self.state is ReplicaState.FAILED:
            return
        if self.pid is None:
            self._task.cancel()
        timeout = max(0.0, self.command.drain_seconds - spent) + self.command.kill_margin
        _, running = await asyncio.wait([self._task], timeout=timeout)
        if running:
            logger.warning("%s did not end within %.1f s: killed", self.command.name, timeout)
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._task])
        if self.state is ReplicaState.STOPPING:  # it was cancelled before its first step
            self._set(ReplicaState.STOPPED)

    def hang_up(self) -> None:
        """Send SIGHUP: the process is to take up its new configuration."""
        for fact in ("reconfigured", "reconfigure_error"):
            self.facts.pop(fact, None)
        self._signal(signal.SIGHUP)

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
        try:
            while not self._stopping:
                await self._run_once()
                if self._stopping or not self._may_restart():
                    break
                await self._rest()
        finally:
            self._set(ReplicaState.STOPPED if self._stopping else ReplicaState.FAILED)

    def _may_restart(self) -> bool:
        """Whether it has served before, or its constructor may be tried once more."""
        self._attempts += 1
        return self._served or self._attempts <= self.command.retries

    async def _rest(self) -> None:
        """Wait before the next start: the longer, the more often it has ended."""
        was_loop = self._crashes.is_loop
        delay = self._crashes.add(self._served_for())
        self._serving_since = None
        self.restarts += 1
        if not self._crashes.is_loop:
            end = self.last_error.partition("\n")[0].rstrip(":")
            logger.warning("%s: restarts in %.1f s", end, delay)
        elif not was_loop:
            logger.error("%s", self.trouble)
        self._set(ReplicaState.CRASH_LOOP if self._crashes.is_loop else ReplicaState.BACKOFF)
        await asyncio.sleep(delay)

    async def _run_once(self) -> None:
        """Start the process and follow it to its end."""
        self.facts.clear()
        self._told = ""
        self._set(ReplicaState.STARTING)
        output = ProcessOutput(partial(self.on_line, self.command.name))
        read_end, write_end = os.pipe()
        try:
            self._process = await self.command.start(output, write_end)
        except BaseException as exc:
            os.close(read_end)
            if not isinstance(exc, OSError):
                raise
            self.last_error = f"{self.command.name} cannot be started: {exc}"
            return
        finally:
            os.close(write_end)
        # Not before: one that runs has a process id.
        reports = asyncio.create_task(follow_reports(read_end, self._reported))
        try:
            await self._until_over(self._process, output, reports)
        finally:
            reports.cancel()
            await asyncio.gather(reports, return_exceptions=True)

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
        if not self._stopping:
            self.last_error = self._told or self._unexpected(process, output)

    def _unexpected(self, process: asyncio.SubprocessTransport, output: ProcessOutput) -> str:
        status = _describe(process.get_returncode())
        last_errors = f":\n{output.last_errors}" if output.last_errors else ""
        return f"{self.command.name} ended unexpectedly ({status}){last_errors}"

    def _reported(self, facts: dict[str, Any]) -> None:
        self.facts.update(facts)
        phase = facts.get("phase")
        if phase == "serving" and not self._stopping:
            self._served = True
            self._serving_since = asyncio.get_running_loop().time()
            self._set(ReplicaState.RUNNING)
        elif phase in ("failed", "unhealthy"):
            self._told = f"{self.command.name} {_SAID[phase]}:\n{facts['error']}"
        elif facts.get("health_failures"):
            count, error = facts["health_failures"], facts.get("health_error", "")
            self.last_error = f"{self.command.name} failed {count} health checks:\n{error}"
        self.on_change()


def _kill_group(leader: int) -> None:
    """End what a process has started and left behind."""
    with suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _describe(status: int | None) -> str:
    if status is not None and status < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-status).name}"
    return f"exit status {status}"
