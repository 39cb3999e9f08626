"""Programs that tests start, with every process that comes of them."""

from __future__ import annotations

import os
import queue
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from meshgen.types import new_id

_MARK = "MESHGEN_TEST_MARK"
# A program that is waited for longer than this has not come to it, on however busy a machine.
_PATIENCE = 60.0


class Program:
    """A running program. Its environment is marked, so that its descendants can be found.

    It has a folder of its own for temporary files, which goes with it.
    """

    def __init__(self, arguments: Sequence[str | Path], cwd: Path) -> None:
        self.mark = new_id()
        # With a short name: sockets are made in there.
        self._folder = tempfile.TemporaryDirectory(prefix="mesh-", dir="/tmp")
        self.temporary = Path(self._folder.name)
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._seen: list[str] = []
        self.process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env={**os.environ, **self._environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reader.start()

    def _environment(self) -> dict[str, str]:
        return {"PYTHONUNBUFFERED": "1", "TMPDIR": str(self.temporary), _MARK: self.mark}

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._lines.put(line)
        self._lines.put(None)

    @property
    def output(self) -> str:
        """All that was read of its output so far."""
        return "".join(self._seen)

    def until(self, pattern: str, timeout: float = _PATIENCE) -> re.Match[str]:
        """Read its output until a line matches."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {pattern!r} in {timeout} s:\n{self.output}") from None
            assert line is not None, f"ended without {pattern!r}:\n{self.output}"
            self._seen.append(line)
            if found := re.search(pattern, line):
                return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def wait(self, timeout: float = _PATIENCE) -> int:
        """Wait for its end and read the rest of its output; the exit status."""
        status = self.process.wait(timeout)
        self._reader.join(timeout)
        while not self._lines.empty():
            if (line := self._lines.get()) is not None:
                self._seen.append(line)
        return status

    def processes(self) -> list[psutil.Process]:
        """Those of its processes that live, itself included."""
        return [each for each in psutil.process_iter() if _is_marked(each, self.mark)]

    def close(self) -> None:
        """Kill what is left of it."""
        while left := self.processes():  # again: one may have been starting another
            for each in left:
                # Processes of a mesh end by themselves once their supervisor is gone.
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            assert_gone(left, within=_PATIENCE)
        self.process.wait()
        self._reader.join()
        self._folder.cleanup()


def _is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def start(*arguments: str | Path, cwd: Path) -> Iterator[Program]:
    """Start `python ARGUMENTS` and kill what is left of it at the end of the block."""
    program = Program([sys.executable, *arguments], cwd)
    try:
        yield program
    finally:
        program.close()


def assert_gone(processes: Sequence[psutil.Process], within: float) -> None:
    """Fail unless these processes end within so many seconds; who started them reaps them."""
    assert left_of(processes, within) == []


def left_of(processes: Sequence[psutil.Process], within: float) -> list[psutil.Process]:
    """Those that have not ended within so many seconds."""
    end = time.monotonic() + within
    return [each for each in processes if not _is_over(each, end)]


def _is_over(process: psutil.Process, end: float) -> bool:
    """Whether all its threads are over by then; an orphan may stay a zombie that nobody reaps."""
    try:
        number = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        watched, _, _ = select.select([number], [], [], max(0.0, end - time.monotonic()))
        return bool(watched) or not process.is_running()
    finally:
        os.close(number)
