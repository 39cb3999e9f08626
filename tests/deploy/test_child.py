"""One supervised process: started, restarted, reported on, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from meshgen.deploy.child import Child, Command
from meshgen.serve.schema import ReplicaState
from tests.programs import assert_gone

# What programs below have in common: they tell their supervisor that they serve.
SERVING = """
import json, os, signal, sys, time
def report(**facts):
    os.write(int(os.environ["MESHGEN_REPORT_FD"]), (json.dumps(facts) + "\\n").encode())
"""


@dataclass
class Watched:
    """A child, and what it told by its hooks."""

    folder: Path
    lines: list[tuple[str, str, bool]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    cleaned: int = 0
    child: Child = field(init=False)

    def make(self, program: str, **options: Any) -> Child:
        """A child that runs a program."""
        (self.folder / "program.py").write_text(SERVING + program)
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"}
        command = Command(name="child#0", module="program", environment=environment, **options)
        self.child = Child(command, self._line, self.changed.set, clean_up=self._clean)
        return self.child

    def _line(self, name: str, line: str, is_error: bool) -> None:
        self.lines.append((name, line, is_error))
        self.changed.set()

    def _clean(self) -> None:
        self.cleaned += 1

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true; fails the test after ten seconds."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_state(self, state: ReplicaState) -> None:
        """Wait for a state."""
        await self.until(lambda: self.child.state is state)


@asynccontextmanager
async def _watching(folder: Path, program: str, **options: Any) -> AsyncIterator[Watched]:
    """A child that runs a program, stopped at the end."""
    watched = Watched(folder)
    watched.make(program, **options).start()
    try:
        yield watched
    finally:
        await watched.child.stop(at_once=True)


async def test_it_runs_once_it_says_so_and_stops_on_sigterm(tmp_path: Path) -> None:
    """Its lines come with its name, its end with a clean-up."""
    program = "print('out')\nprint('err', file=sys.stderr)\nreport(phase='serving', port=7)\n"
    async with _watching(tmp_path, program + "signal.pause()") as watched:
        child = watched.child
        assert child.state is ReplicaState.STARTING
        await watched.until_state(ReplicaState.RUNNING)
        await watched.until(lambda: len(watched.lines) == 2)
        assert sorted(watched.lines) == [("child#0", "err", True), ("child#0", "out", False)]
        assert (child.facts["port"], child.restarts, child.last_error) == (7, 0, "")
        pid = child.pid
        await child.stop()
        assert (child.state, child.pid, watched.cleaned) == (ReplicaState.STOPPED, None, 1)
        assert pid is not None
        assert not psutil.pid_exists(pid)


async def test_one_that_dies_is_started_again(tmp_path: Path) -> None:
    """What it left is cleaned up each time, and its end is remembered until it serves."""
    async with _watching(tmp_path, "report(phase='serving')\nsignal.pause()") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        first = watched.child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await watched.until_state(ReplicaState.BACKOFF)
        assert watched.child.last_error == "child#0 ended unexpectedly (killed by SIGKILL)"
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid != first
        assert (watched.child.restarts, watched.child.last_error) == (1, "")
        assert watched.cleaned == 1


async def test_a_constructor_that_fails_is_not_tried_for_ever(tmp_path: Path) -> None:
    """As often as asked for, with the error it reported."""
    program = "report(phase='failed', error='no model')\nsys.exit(1)"
    async with _watching(tmp_path, program, retries=1) as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert watched.child.restarts == 1
        assert watched.child.last_error == "child#0 failed:\nno model"


async def test_one_that_ends_before_it_serves_has_failed(tmp_path: Path) -> None:
    """With its exit status, where it said nothing."""
    async with _watching(tmp_path, "sys.exit(7)") as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert watched.child.last_error == "child#0 ended unexpectedly (exit status 7)"


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """At once where that was asked for."""
    program = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreport(phase='serving')\n"
    async with _watching(tmp_path, program + "time.sleep(600)") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        async with asyncio.timeout(5):
            await watched.child.stop(at_once=True)
        assert watched.child.state is ReplicaState.STOPPED


async def test_stop_during_a_back_off_starts_nothing(tmp_path: Path) -> None:
    """Nothing is left that would start it later."""
    program = "report(phase='serving')\nsys.exit(1)"
    async with _watching(tmp_path, program) as watched:
        await watched.until_state(ReplicaState.BACKOFF)
        async with asyncio.timeout(5):
            await watched.child.stop()
        assert (watched.child.state, watched.child.pid) == (ReplicaState.STOPPED, None)


async def test_stop_before_the_first_step_starts_nothing(tmp_path: Path) -> None:
    """A child that was started and stopped at once."""
    watched = Watched(tmp_path)
    child = watched.make("signal.pause()")
    child.start()
    async with asyncio.timeout(10):
        await child.stop()
    assert child.pid is None
    assert child.state is ReplicaState.STOPPED


async def test_one_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    """And says what is missing."""
    async with _watching(tmp_path, "", working_dir=str(tmp_path / "nowhere")) as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert "child#0 cannot be started: " in watched.child.last_error
        assert "nowhere" in watched.child.last_error


async def test_odd_output_is_passed_on(tmp_path: Path) -> None:
    """Long lines, bytes that are no text, and a last line without an end."""
    program = "sys.stdout.buffer.write(b'x' * 300000 + b'\\n' + bytes([255]) + b'\\nlast')\n"
    async with _watching(tmp_path, program) as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert [line for _, line, _ in watched.lines] == ["x" * 300_000, "\ufffd", "last"]


GRANDCHILD = """
import subprocess
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
report(phase="serving", sleeper=sleeper.pid)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_what_a_process_leaves_behind_ends_with_it(
    tmp_path: Path, number: signal.Signals
) -> None:
    """A program of the user's that holds its output open keeps nobody from starting it anew."""
    async with _watching(tmp_path, GRANDCHILD) as watched:
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid is not None
        left_behind = psutil.Process(watched.child.facts["sleeper"])
        os.kill(watched.child.pid, number)
        await watched.until(lambda: watched.child.restarts == 1)
        assert_gone([left_behind], within=5)
        await watched.until_state(ReplicaState.RUNNING)
        left_behind = psutil.Process(watched.child.facts["sleeper"])
        async with asyncio.timeout(5):
            await watched.child.stop()
        assert_gone([left_behind], within=5)


async def test_a_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    """Ctrl-C is for the supervisor alone; modules of the current folder are not taken."""
    async with _watching(tmp_path, "report(phase='serving')\nsignal.pause()") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid is not None
        assert os.getsid(watched.child.pid) == watched.child.pid
        assert psutil.Process(watched.child.pid).cmdline()[:2] == [sys.executable, "-P"]
