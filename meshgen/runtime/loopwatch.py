"""Notice that user code blocks the event loop, and name its line, once for each place."""

from __future__ import annotations

import asyncio
import linecache
import logging
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType

import meshgen

logger = logging.getLogger("meshgen")

# A loop that gives no sign of life for so long is blocked. It is asked four times as often.
_BLOCKED_SECONDS = 1.0
# Code that is made anew at each call has a place of its own each time.
_MAX_PLACES = 100

_LIBRARIES = (
    f"{Path(meshgen.__file__).parent}/",
    *{f"{sysconfig.get_path(kind)}/" for kind in ("stdlib", "platstdlib", "purelib", "platlib")},
    *("<frozen ", "<string>", "<attrs "),
)
_PACKAGES = ("/site-packages/", "/dist-packages/")
_ADVICE = (
    "all calls of this replica wait for it: make the method a plain `def`, which runs in a thread, "
    "or call what blocks by `await asyncio.to_thread(...)`"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A line of code."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        text = linecache.getline(self.file, self.line).strip()
        return f"{self.file}:{self.line} in {self.function}" + (f": {text}" if text else "")


def place_of(thread: int) -> Place | None:
    """What a thread does now: the innermost line of the user's, or of a library if there is none.

    None while it does nothing but wait for events.
    """
    frames = list(_frames(sys._current_frames().get(thread)))
    found = next((frame for frame in frames if _is_user_code(frame)), None)
    if found is None:
        found = frames[0] if frames and not _runs_a_loop(frames[0]) else None
    if found is None:
        return None
    code = found.f_code
    return Place(file=code.co_filename, line=found.f_lineno or 0, function=code.co_name)


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """From the innermost one outwards, down to whoever runs the loop."""
    while frame is not None:
        yield frame
        if _runs_a_loop(frame):
            return
        frame = frame.f_back


def _runs_a_loop(frame: FrameType) -> bool:
    """Whether this is a runner or a loop itself; what it calls is ours, the user's or a library's.

    uvloop leaves no frame of its own, asyncio's loop does.
    """
    file = frame.f_code.co_filename.replace("\\", "/")
    return file.endswith(("/asyncio/runners.py", "/asyncio/base_events.py", "/selectors.py"))


def _is_user_code(frame: FrameType) -> bool:
    file = frame.f_code.co_filename
    return not file.startswith(_LIBRARIES) and not any(each in file for each in _PACKAGES)


def blocked_for(seconds: float, more: float, period: float) -> float:
    """How long the loop has given no sign, after `seconds` and a wait that took `more`.

    Who was woken late itself (in a stopped process, on a slow machine) cannot tell who else is.
    """
    return seconds + more if more < 2 * period else 0.0


class LoopWatch:
    """Watches the loop it is entered on, from a thread of its own, until it is left."""

    def __init__(self, name: str, *, blocked_seconds: float = _BLOCKED_SECONDS) -> None:
        self._name = name
        self._blocked_seconds = blocked_seconds
        self._period = blocked_seconds / 4
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._stopped = threading.Event()
        self._told: set[Place] = set()

    def __enter__(self) -> LoopWatch:
        threading.Thread(target=self._run, name="loopwatch", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._period):
            sign = threading.Event()
            try:
                self._loop.call_soon_threadsafe(sign.set)
            except RuntimeError:  # it was closed in this moment
                return
            self._follow(sign)

    def _follow(self, sign: threading.Event) -> None:
        """Wait until the loop gives a sign, and tell if that takes too long."""
        blocked, told = 0.0, False
        while not self._stopped.is_set():
            began = time.monotonic()
            if sign.wait(self._period):
                return
            blocked = blocked_for(blocked, time.monotonic() - began, self._period)
            if blocked >= self._blocked_seconds and not told:
                told = True
                self._tell(blocked)

    def _tell(self, seconds: float) -> None:
        place = place_of(self._loop_thread)
        if place is None or place in self._told or len(self._told) >= _MAX_PLACES:
            return
        self._told.add(place)
        logger.warning(
            "%s: the event loop has been blocked for %.1f s by %s\n%s",
            *(self._name, seconds, place, _ADVICE),
        )
