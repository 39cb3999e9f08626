"""A result that arrives once and may be waited for often, from any thread or event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from meshgen.errors import BlockingCallError, DeadlineError, RequestCancelledError
from meshgen.loopmail import LoopMail, mail_of
from meshgen.types import Payload, Token

_MISSING: Any = object()


class Carrier(Protocol):
    """Carries out a call; its methods may be called from any thread."""

    def abandon(self) -> None:
        """Nobody waits for the call any more."""

    def keep(self, ready: Callable[[], None]) -> None:
        """Have the outcome kept where it is made; calls back once that is so, or it is here."""


class Kept(Protocol):
    """A value that is kept where it was made, for as long as this object lives."""

    @property
    def token(self) -> Token:
        """Where."""

    @property
    def payload(self) -> Payload | None:
        """The value, if it had to leave that place."""

    @property
    def error(self) -> BaseException | None:
        """Why there is no value, if word of that had to leave that place."""

    def fetch(self, reply: Reply) -> None:
        """Bring it here, from whichever thread; `reply` ends with it."""


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
    # Who carries out the call, until it has ended.
    carrier: Carrier | None = None
    # Where the outcome is kept for others, and for this reply too until somebody wants it.
    kept: Kept | None = None
    _fetches = False
    _on_settled: tuple[Callable[[], None], ...] = ()

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
        self.carrier = None
        if self._on_settled:
            self._tell_settled()
        for callback in callbacks:
            callback()
        return True

    def leave_at(self, kept: Kept) -> None:
        """The value stays where it was made until somebody waits for it."""
        with self._lock:
            self.kept, self._fetches = kept, True
            self.carrier = None
            wanted = self._waiters > 0
        self._tell_settled()
        if wanted:
            self._fetch()

    @property
    def settled(self) -> bool:
        """Whether the outcome is here, or the value was left where it was made."""
        return self.done or (self.kept is not None and self.carrier is None)

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call back once that is so, from whichever thread brings word of it, or at once."""
        with self._lock:
            if not self.settled:
                self._on_settled = (*self._on_settled, callback)
                return
        callback()

    def _tell_settled(self) -> None:
        with self._lock:
            waiting, self._on_settled = self._on_settled, ()
        for callback in waiting:
            callback()

    def _fetch(self) -> None:
        with self._lock:
            fetches, self._fetches = self._fetches, False
        if fetches and self.kept is not None:
            self.kept.fetch(self)

    @property
    def passable(self) -> bool:
        """Whether it can be passed on at this moment: it is here, or kept where it will be."""
        return self.kept is not None or self.done

    @property
    def token(self) -> Token | None:
        """Where the value is kept; None where it is not, or had to leave that place."""
        kept = self.kept
        if kept is None or kept.payload is not None or kept.error is not None:
            return None
        return kept.token

    @property
    def payload(self) -> Payload | None:
        """The value as it came; None where it is not here, or was an error."""
        if self._outcome is not None:
            return self._outcome[0]
        return None if self.kept is None else self.kept.payload

    @property
    def error(self) -> BaseException | None:
        """The error that it ended with."""
        if self._error is not None:
            return self._error
        return None if self.kept is None else self.kept.error

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
        carrier = self.carrier
        if carrier is None and self.kept is not None:  # it has its value, elsewhere
            return
        error = RequestCancelledError("the request was cancelled by its caller")
        if self._end(None, error) and carrier is not None:
            carrier.abandon()

    def cancelled(self) -> bool:
        """Whether `cancel` was called, even if the result was there already."""
        return self._cancelled

    def value(self) -> Any:
        """The value, or the error raised. Only once `done`."""
        if self._value is _MISSING and self._error is None:
            self._decode()
        if self._error is not None:
            raise self._error.with_traceback(self._traceback)
        return self._value

    def _decode(self) -> None:
        with self._lock:
            if self._outcome is None or self._value is not _MISSING:  # another thread was quicker
                return
            payload, decode = self._outcome
            try:
                self._value = decode(payload)
            except Exception as exc:
                self._keep(exc)
                self._outcome = None
            else:
                # What is kept elsewhere need not be here twice.
                self._outcome = self._outcome if self.kept is None else None

    def wait(self, timeout: float | None) -> Any:
        """Block this thread until the value is here.

        Raises:
            BlockingCallError: This thread runs an event loop, which would stand still.
            DeadlineError: It did not come within `timeout` seconds; the call goes on.
        """
        refuse_in_event_loop("response.result()", "await response")
        if not self.done:
            arrived = threading.Event()
            self.join(arrived.set)
            try:
                in_time = arrived.wait(None if timeout is None else max(0.0, timeout))
            finally:
                self.leave(arrived.set)
            if not in_time:
                raise DeadlineError(f"no result within {timeout} s; the call is still running")
        return self.value()

    def __await__(self) -> Generator[Any, None, Any]:
        if self._callbacks is not None:
            try:
                yield from wake_on(self.join)
            except BaseException as exc:
                # Others may still wait for the same result: only the last one gives up the call.
                if self.leave() and isinstance(exc, asyncio.CancelledError):
                    self.cancel()
                raise
        return self.value()

    def look(self) -> Generator[Any, None, Any]:
        """As `await`, but who gives up waiting does not give up the call."""
        if not self.done:
            try:
                yield from wake_on(self.join)
            except BaseException:
                self.leave()
                raise
        return self.value()

    def join(self, callback: Callable[[], None]) -> None:
        """Wait for the outcome: a callback, as by `add_done_callback`, until `leave`."""
        with self._lock:
            self._waiters += 1
            callbacks = self._callbacks
            if callbacks is not None:
                callbacks.append(callback)
        if callbacks is None:
            callback()
        elif self._fetches:
            self._fetch()

    def leave(self, callback: Callable[[], None] | None = None) -> bool:
        """Wait no longer; whether nobody does."""
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
        if threading.get_ident() != thread:
            mail.post(partial(_set, waiter))
        elif not waiter.done():
            waiter.set_result(None)
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
