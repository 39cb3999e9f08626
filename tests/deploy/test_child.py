"""One supervised process: started, restarted, reported on, stopped."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from meshgen.deploy.crashes import Pace
from meshgen.serve.schema import ReplicaState
from tests.deploy.watched import CRASHING, Watched, watching
from tests.programs import assert_gone

# One that is waited for in vain takes its 20 s to drain, and 5 s more.
_SOON = 18


async def test_it_runs_once_it_says_so_and_stops_on_sigterm(tmp_path: Path) -> None:
    """Its lines come with its name, its end with a clean-up."""
    program = "print('out')\nprint('err', file=sys.stderr)\nreport(phase='serving', port=7)\n"
    async with watching(tmp_path, program + "signal.pause()") as watched:
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
    """What it left is cleaned up each time, and its end is remembered."""
    async with watching(tmp_path, "report(phase='serving')\nsignal.pause()") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        first = watched.child.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await watched.until_state(ReplicaState.BACKOFF)
        assert watched.child.last_error == "child#0 ended unexpectedly (killed by SIGKILL)"
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid != first
        assert (watched.child.restarts, watched.child.trouble) == (1, "")
        assert "killed by SIGKILL" in watched.child.last_error
        assert watched.cleaned == 1


async def test_a_constructor_that_fails_is_not_tried_for_ever(tmp_path: Path) -> None:
    """As often as asked for, with the error it reported."""
    program = "report(phase='failed', error='no model')\nsys.exit(1)"
    async with watching(tmp_path, program, retries=1) as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert watched.child.restarts == 1
        assert watched.child.last_error == "child#0 failed:\nno model"


async def test_one_that_ends_before_it_serves_has_failed(tmp_path: Path) -> None:
    """With its exit status, where it said nothing."""
    async with watching(tmp_path, "sys.exit(7)") as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert watched.child.last_error == "child#0 ended unexpectedly (exit status 7)"


QUICK = Pace(first=0.01, longest=0.05, limit=3)


async def test_one_that_ends_again_and_again_is_in_a_crash_loop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again nevertheless; the log says so once, with its last words."""
    async with watching(tmp_path, CRASHING, pace=QUICK, working_dir=str(tmp_path)) as watched:
        child = watched.child
        await watched.until_state(ReplicaState.CRASH_LOOP)
        assert child.restarts == 3
        assert child.trouble == (
            "child#0 is in a crash loop: it has ended 3 times in a row without having served for "
            "10 s, and is tried again every 0.05 s. The last time: child#0 ended unexpectedly "
            "(exit status 1):\nit is broken"
        )
        (tmp_path / "mended").touch()
        await watched.until_state(ReplicaState.STARTING)
        await watched.until_state(ReplicaState.RUNNING)
        # It may end again any time: ten seconds must pass.
        assert "is in a crash loop" in child.trouble
    loops = [record for record in caplog.records if "crash loop" in record.message]
    assert [record.levelname for record in loops] == ["ERROR"]


async def test_a_crash_loop_ends_with_a_good_run(tmp_path: Path) -> None:
    """Then it is as if nothing had been, but for the count of restarts and the last error."""
    pace = replace(QUICK, good_run=0.2)
    async with watching(tmp_path, CRASHING, pace=pace, working_dir=str(tmp_path)) as watched:
        child = watched.child
        await watched.until_state(ReplicaState.CRASH_LOOP)
        (tmp_path / "mended").touch()
        await watched.until(lambda: not child.trouble)
        assert child.state is ReplicaState.RUNNING
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        await watched.until_state(ReplicaState.BACKOFF)
        assert "it is broken" not in child.last_error


SEGFAULT = """
def deep():
    import ctypes
    ctypes.string_at(0)
report(phase='serving')
deep()
"""


async def test_a_crash_in_native_code_shows_where(tmp_path: Path) -> None:
    """The stack of Python, as far as the process could still write it."""
    environment = {"PYTHONFAULTHANDLER": "1"}
    async with watching(tmp_path, SEGFAULT, more=environment) as watched:
        await watched.until_state(ReplicaState.BACKOFF)
        assert "child#0 ended unexpectedly (killed by SIGSEGV):" in watched.child.last_error
        assert re.search(r'program.py", line \d+ in deep', watched.child.last_error)


FAILS_LATER = """
if os.path.exists('served'):
    report(phase='failed', error='Traceback: no model any more')
    sys.exit(1)
open('served', 'w').close()
report(phase='serving')
sys.exit(3)
"""


async def test_a_constructor_that_fails_later_keeps_its_traceback(tmp_path: Path) -> None:
    """One that has served before is tried for ever, and tells why it does not come back."""
    pace = Pace(first=0.01)
    async with watching(tmp_path, FAILS_LATER, pace=pace, working_dir=str(tmp_path)) as watched:
        await watched.until(lambda: watched.child.restarts == 2)
        expected = "child#0 failed:\nTraceback: no model any more"
        assert (watched.child.last_error, watched.child.trouble) == (expected, expected)


UNHEALTHY = """
report(phase='serving', ongoing=3)
report(health_failures=1, health_error='no database')
if os.path.exists('again'):
    signal.pause()
open('again', 'w').close()
report(phase='unhealthy', error='no database at all')
sys.exit(1)
"""


async def test_a_failed_health_check_is_told(tmp_path: Path) -> None:
    """While it runs, and as the reason why it was started anew."""
    async with watching(tmp_path, UNHEALTHY, working_dir=str(tmp_path)) as watched:
        await watched.until_state(ReplicaState.BACKOFF)
        assert watched.child.last_error == "child#0 was unhealthy:\nno database at all"
        await watched.until_state(ReplicaState.RUNNING)
        await watched.until(lambda: watched.child.facts.get("health_failures"))
        assert watched.child.last_error == "child#0 failed 1 health checks:\nno database"
        assert (watched.child.state, watched.child.trouble) == (ReplicaState.RUNNING, "")


@pytest.mark.parametrize("stubborn", ["signal.signal(signal.SIGTERM, signal.SIG_IGN)", "STOP"])
async def test_one_that_does_not_end_is_killed_in_time(tmp_path: Path, stubborn: str) -> None:
    """One that ignores SIGTERM, and one that is stopped and cannot hear it."""
    ignore = "" if stubborn == "STOP" else stubborn
    program = f"{ignore}\nreport(phase='serving')\nwhile True: signal.pause()"
    async with watching(tmp_path, program, drain_seconds=0.1, kill_margin=0.3) as watched:
        await watched.until_state(ReplicaState.RUNNING)
        if stubborn == "STOP":
            assert watched.child.pid is not None
            os.kill(watched.child.pid, signal.SIGSTOP)
        async with asyncio.timeout(_SOON):
            await watched.child.stop(spent=20.0)
        assert watched.child.state is ReplicaState.STOPPED


async def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    """At once where that was asked for."""
    program = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreport(phase='serving')\n"
    async with watching(tmp_path, program + "time.sleep(600)") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        async with asyncio.timeout(_SOON):
            await watched.child.stop(at_once=True)
        assert watched.child.state is ReplicaState.STOPPED


async def test_stop_during_a_back_off_starts_nothing(tmp_path: Path) -> None:
    """Nothing is left that would start it later."""
    program = "report(phase='serving')\nsys.exit(1)"
    async with watching(tmp_path, program) as watched:
        await watched.until_state(ReplicaState.BACKOFF)
        async with asyncio.timeout(_SOON):
            await watched.child.stop()
        assert (watched.child.state, watched.child.pid) == (ReplicaState.STOPPED, None)


async def test_stop_before_the_first_step_starts_nothing(tmp_path: Path) -> None:
    """A child that was started and stopped at once."""
    watched = Watched(tmp_path)
    child = watched.make("signal.pause()")
    child.start()
    async with asyncio.timeout(_SOON):
        await child.stop()
    assert child.pid is None
    assert child.state is ReplicaState.STOPPED


async def test_one_that_cannot_be_started_has_failed(tmp_path: Path) -> None:
    """And says what is missing."""
    async with watching(tmp_path, "", working_dir=str(tmp_path / "nowhere")) as watched:
        await watched.until_state(ReplicaState.FAILED)
        assert "child#0 cannot be started: " in watched.child.last_error
        assert "nowhere" in watched.child.last_error


async def test_odd_output_is_passed_on(tmp_path: Path) -> None:
    """Long lines, bytes that are no text, and a last line without an end."""
    program = "sys.stdout.buffer.write(b'x' * 300000 + b'\\n' + bytes([255]) + b'\\nlast')\n"
    async with watching(tmp_path, program) as watched:
        await watched.until_state(ReplicaState.FAILED)
        await watched.until(lambda: len(watched.lines) == 3)
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
    async with watching(tmp_path, GRANDCHILD) as watched:
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid is not None
        left_behind = psutil.Process(watched.child.facts["sleeper"])
        os.kill(watched.child.pid, number)
        await watched.until(lambda: watched.child.restarts == 1)
        assert_gone([left_behind], within=_SOON)
        await watched.until_state(ReplicaState.RUNNING)
        left_behind = psutil.Process(watched.child.facts["sleeper"])
        async with asyncio.timeout(_SOON):
            await watched.child.stop()
        assert_gone([left_behind], within=_SOON)


async def test_a_process_has_a_session_of_its_own(tmp_path: Path) -> None:
    """Ctrl-C is for the supervisor alone; modules of the current folder are not taken."""
    async with watching(tmp_path, "report(phase='serving')\nsignal.pause()") as watched:
        await watched.until_state(ReplicaState.RUNNING)
        assert watched.child.pid is not None
        assert os.getsid(watched.child.pid) == watched.child.pid
        assert psutil.Process(watched.child.pid).cmdline()[:2] == [sys.executable, "-P"]
