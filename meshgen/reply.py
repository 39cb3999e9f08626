"""A result that arrives once and may be waited for often, from any thread or event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any

from meshgen.errors import BlockingCallError, DeadlineError, RequestCancelledError
from meshgen.loopmail import LoopMail, mail_of
from meshgen.types import Payload

_MISSING: Any = object()


class Reply:
    """The caller's end of one unary call.

    Whoever carries out the call ends it with `resolve` or `fail`, exactly once; later outcomes are
    ignored. The payload is decoded when somebody first asks for the value, and only then.
    """

    # Until they are set on the instance: most replies never need most of them.
    _outcome: tuple[Payload, Callable[[Payload], Any]] | None = None
    _value: Any = _MISSING
    _error: BaseException | None = None
    _traceback: TracebackType | None = None
    _waiters = 0
    _cancelled = False
    # Set by whoever carries out the call: tells the far side that nobody waits any more.
    on_cancel: Callable[[], None] | None = None

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] | None = []

    @property
    def done(self) -> bool:
        """Whether the outcome is here."""
        return self._callbacks is None

    def resolve(self, payload: Payload, decode: Callable[[Payload], Any]) -> None:
        """End with a value, still pickled."""
        self._end((payload, decode), None)

    def fail(self, error: BaseException) -> None:
        """End with an error."""
        self._end(None, error)

    def _end(
        self,
        outcome: tuple[Payload, Callable[[Payload], Any]] | None,
        error: BaseException | None,
    ) -> bool:
        """Whether this was the first outcome; only that one counts."""
        with self._lock:
            callbacks, self._callbacks = self._callbacks, None
            if callbacks is None:
                return False
            self._outcome = outcome
            if error is not None:
                self._keep(error)
        # Who carries out the call holds this reply: a circle that only a collection would break.
        self.on_cancel = None
        for callback in callbacks:
            callback()
        return True

    def _keep(self, error: BaseException) -> None:
        # Each `raise` adds to an exception's traceback: `value` starts from this one every time.
        self._error = error
        self._traceback = error.__traceback__

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Call back when the outcome is here, from whichever thread brings it, or at once."""
        with self._lock:
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Ask the far side to stop; whoever waits gets `RequestCancelledError`. Idempotent."""
        self._cancelled = True
        on_cancel = self.on_cancel
        error = RequestCancelledError("the request was cancelled by its caller")
        if self._end(None, error) and on_cancel is not None:
            on_cancel()

    def cancelled(self) -> bool:
        """Whether `cancel` was called, even if the result was there already."""
        return self._cancelled

    def value(self) -> Any:
        """The value, or the error raised. Only once `done`."""
        if self._outcome is not None:
            self._decode()
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        assert self._value is not _MISSING
        return self._value

    def _decode(self) -> None:
        with self._lock:
            if self._outcome is None:  # another thread was quicker
                return
            payload, decode = self._outcome
            try:
                self._value = decode(payload)
            except Exception as exc:
                self._keep(exc)
            # Last: who sees no outcome takes the value without the lock.
            self._outcome = None

    def wait(self, timeout: float | None) -> Any:
        """Block this thread until the value is here.

        Raises:
            BlockingCallError: This thread runs an event loop, which would stand still.
            DeadlineError: It did not come within `timeout` seconds; the call goes on.
        """
        refuse_in_event_loop("response.result()", "await response")
        if not self.done:
            arrived = threading.Event()
            self._join(arrived.set)
            try:
                in_time = arrived.wait(None if timeout is None else max(0.0, timeout))
            finally:
                self._leave(arrived.set)
            if not in_time:
                raise DeadlineError(f"no result within {timeout} s; the call is still running")
        return self.value()

    def __await__(self) -> Generator[Any, None, Any]:
        if not self.done:
            waiter = wake_on(self._join)
            try:
                yield from waiter
            except BaseException as exc:
                # Others may still wait for the same result: only the last one gives up the call.
                if self._leave() and isinstance(exc, asyncio.CancelledError):
                    self.cancel()
                raise
        return self.value()

    def _join(self, callback: Callable[[], None]) -> None:
        with self._lock:
            self._waiters += 1
            if self._callbacks is not None:
                self._callbacks.append(callback)
                return
        callback()

    def _leave(self, callback: Callable[[], None] | None = None) -> bool:
        """Whether nobody waits any more."""
        with self._lock:
            self._waiters -= 1
            if callback is not None and self._callbacks is not None:
                self._callbacks.remove(callback)
            return self._waiters == 0


def wake_on(
    subscribe: Callable[[Callable[[], None]], None],
) -> asyncio.Future[None]:
    """A future of the running loop that ends when the callback given to `subscribe` is called."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    subscribe(partial(_wake, mail_of(loop), threading.get_ident(), waiter))
    return waiter


def _wake(mail: LoopMail, thread: int, waiter: asyncio.Future[None]) -> None:
    try:
        if threading.get_ident() == thread:
            _set(waiter)
        else:
            mail.post(partial(_set, waiter))
    except RuntimeError:  # the waiting loop was closed: nobody is left to wake
        pass


def _set(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def refuse_in_event_loop(blocking: str, instead: str) -> None:
    """Refuse to block a thread that runs an event loop.

    Raises:
        BlockingCallError: This thread runs one.
    """
    if asyncio._get_running_loop() is not None:
        raise BlockingCallError(
            f"{blocking} would block the running event loop and every other request on it; "
            f"use `{instead}` instead"
        )
