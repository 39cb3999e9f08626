"""Loops that user code blocks: noticed within seconds, and told once by the line."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from meshgen.runtime.loopwatch import LoopWatch, blocked_for, place_of

# What counts as blocked here.
_QUICK = 0.2


class _Heard(logging.Handler):
    """What meshgen's logger was told; `any` is set by the first warning."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []
        self.any = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
        self.any.set()


@contextmanager
def _hearing() -> Iterator[_Heard]:
    heard = _Heard()
    logger = logging.getLogger("meshgen")
    logger.addHandler(heard)
    try:
        yield heard
    finally:
        logger.removeHandler(heard)


def _block(until: threading.Event, seconds: float = 10.0) -> int:
    """Keep the loop; the number of the line that does."""
    frame = inspect.currentframe()
    assert frame is not None
    until.wait(seconds)
    return frame.f_lineno - 1


async def test_the_line_that_blocks_the_loop_is_named() -> None:
    """The innermost one of the user's, not that of the library that it waits in; with advice."""
    with _hearing() as heard, LoopWatch("default/Slow#0", blocked_seconds=_QUICK):
        line = _block(heard.any)
    (text,) = heard.texts
    assert f"{__file__}:{line} in _block: until.wait(seconds)" in text
    assert text.startswith("default/Slow#0: the event loop has been blocked for 0.")
    assert "plain `def`" in text and "asyncio.to_thread" in text


async def test_a_place_is_told_once() -> None:
    """However often it blocks, and for however long."""
    with _hearing() as heard, LoopWatch("default/Slow#0", blocked_seconds=_QUICK):
        _block(heard.any)
        await asyncio.sleep(0)
        _block(threading.Event(), 4 * _QUICK)
    assert len(heard.texts) == 1


async def test_a_loop_that_turns_is_not_told() -> None:
    """Nor one that waits, however long."""
    with _hearing() as heard, LoopWatch("default/Quick#0", blocked_seconds=_QUICK):
        await asyncio.to_thread(heard.any.wait, 4 * _QUICK)
    assert heard.texts == []


@pytest.mark.parametrize(
    ("looks", "seconds"),
    [([0.25] * 4, 1.0), ([0.25, 0.25, 40.0, 0.25], 0.25), ([3600.0], 0.0), ([0.6] * 9, 0.0)],
)
def test_who_is_late_itself_cannot_tell(looks: list[float], seconds: float) -> None:
    """A process that was stopped, or a machine too slow for the watch, proves nothing."""
    blocked = 0.0
    for took in looks:
        blocked = blocked_for(blocked, took, 0.25)
    assert blocked == seconds


async def test_a_loop_that_waits_for_events_is_at_no_place() -> None:
    """Nothing to name."""
    here = threading.get_ident()
    while await asyncio.to_thread(place_of, here) is not None:
        pass  # it was still starting the thread that asks


def test_a_thread_that_is_gone_is_at_no_place() -> None:
    """Its frames went with it."""
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    assert thread.ident is not None
    assert place_of(thread.ident) is None


def test_code_of_libraries_is_named_where_there_is_no_other() -> None:
    """What was loaded by meshgen itself, for example."""
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        place = None
        while place is None or place.function != "wait":
            assert thread.ident is not None
            place = place_of(thread.ident)
        assert place.file.endswith("threading.py")
    finally:
        done.set()
        thread.join()
