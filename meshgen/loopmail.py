"""Callbacks for an event loop from other threads, many of them in one wake-up."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable


class LoopMail:
    """Hands callbacks to one loop.

    Waking a loop costs a system call, during which the other thread takes the interpreter. So only
    the first callback wakes it; those that come before it looks are done along with that one.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._queue: deque[Callable[[], object]] = deque()
        self._woken = False

    def post(self, callback: Callable[[], object]) -> None:
        """Have it called there, soon, in the order of posting.

        Raises:
            RuntimeError: The loop is closed.
        """
        self._queue.append(callback)
        if self._woken:
            return
        self._woken = True
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._woken = False
            self._queue.clear()
            raise

    def _deliver(self) -> None:
        # First: what is posted from here on wakes the loop again.
        self._woken = False
        for _ in range(len(self._queue)):
            # By the loop's own rules for callbacks: one that raises does not stop the others.
            self.loop.call_soon(self._queue.popleft())


class _ThisThread(threading.local):
    mail: LoopMail | None = None


# Each thread's own: the mail of the loop that runs there.
_this_thread = _ThisThread()


def mail_of(loop: asyncio.AbstractEventLoop) -> LoopMail:
    """The mail of the loop that runs in this thread."""
    mail = _this_thread.mail
    if mail is None or mail.loop is not loop:
        mail = _this_thread.mail = LoopMail(loop)
    return mail
