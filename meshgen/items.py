"""The items of a streaming call between who brings them and who consumes them, on any thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from meshgen.errors import DeadlineError, RequestCancelledError
from meshgen.reply import refuse_in_event_loop, wake_on
from meshgen.types import Payload

_NOTHING_YET: Any = object()


class ItemBuffer:
    """The caller's end of one streaming call.

    The feeder `put`s items and waits for `drained` before it reads more, so a slow consumer holds
    at most one message of items. Items come out in order; an error comes after the items before it.
    """

    def __init__(self) -> None:
        # Reentrant: a stream that nobody holds any more is cancelled by the garbage collector,
        # which runs on any thread, one that is inside of a method here included.
        self._lock = threading.RLock()
        self._items: deque[Payload] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._decode: Callable[[Payload], Any] | None = None
        self._on_arrival: list[Callable[[], None]] = []
        self._on_drained: list[Callable[[], None]] = []
        # Set by whoever carries out the call: stops the producer.
        self.on_cancel: Callable[[], None] | None = None

    def put(self, items: Sequence[Payload], decode: Callable[[Payload], Any]) -> None:
        """Add items that arrived together; ignored after the end."""
        with self._lock:
            if self._ended:
                return
            self._decode = decode
            self._items.extend(items)
            waiting = _emptied(self._on_arrival)
        _call(waiting)

    def end(self, error: BaseException | None = None) -> None:
        """No more items; with `error`, because of it. Only the first end counts."""
        self._end(error, keep_items=True)

    def cancel(self) -> None:
        """Stop the producer; the consumer gets `RequestCancelledError` next. Idempotent."""
        on_cancel = self.on_cancel
        error = RequestCancelledError("the stream was cancelled by its caller")
        if self._end(error, keep_items=False) and on_cancel is not None:
            on_cancel()

    def _end(self, error: BaseException | None, *, keep_items: bool) -> bool:
        """Whether this was the first end."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
            self._error = error
            if not keep_items:
                self._items.clear()
            waiting = _emptied(self._on_arrival) + _emptied(self._on_drained)
        # Who carries out the call holds these items: a circle that only a collection would break.
        self.on_cancel = None
        _call(waiting)
        return True

    @property
    def ended(self) -> bool:
        """Whether no more items will come, taken or not."""
        return self._ended

    async def drained(self) -> None:
        """Return once the consumer has taken every item, or the stream has ended."""
        while self._items and not self._ended:
            await wake_on(self._subscribe_drained)

    async def next(self) -> Any:
        """The next item.

        Raises:
            StopAsyncIteration: The stream has ended.
        """
        while (item := self._take(StopAsyncIteration)) is _NOTHING_YET:
            await wake_on(self._subscribe_arrival)
        return item

    def next_blocking(self, timeout: float | None = None) -> Any:
        """The next item, blocking this thread until it is here.

        Raises:
            StopIteration: The stream has ended.
            BlockingCallError: This thread runs an event loop.
            DeadlineError: Nothing came within `timeout` seconds.
        """
        refuse_in_event_loop("`for item in response`", "async for item in response")
        while (item := self._take(StopIteration)) is _NOTHING_YET:
            arrived = threading.Event()
            self._subscribe_arrival(arrived.set)
            if not arrived.wait(timeout):
                raise DeadlineError(f"no item within {timeout} s; the stream is still open")
        return item

    def _take(self, exhausted: type[StopIteration] | type[StopAsyncIteration]) -> Any:
        """The next item decoded, the end raised, or `_NOTHING_YET`."""
        with self._lock:
            if not self._items:
                return self._at_the_end(exhausted)
            item = self._items.popleft()
            waiting = [] if self._items else _emptied(self._on_drained)
            decode = self._decode
        _call(waiting)
        assert decode is not None
        return decode(item)

    def _at_the_end(self, exhausted: type[StopIteration] | type[StopAsyncIteration]) -> Any:
        if not self._ended:
            return _NOTHING_YET
        if self._error is None:
            raise exhausted
        error, self._error = self._error, None
        raise error

    def _subscribe_arrival(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if not self._items and not self._ended:
                self._on_arrival.append(callback)
                return
        callback()

    def _subscribe_drained(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if self._items and not self._ended:
                self._on_drained.append(callback)
                return
        callback()


def _emptied(callbacks: list[Callable[[], None]]) -> list[Callable[[], None]]:
    """The callbacks that wait, taken off their list. Called with the lock held."""
    waiting = callbacks[:]
    callbacks.clear()
    return waiting


def _call(callbacks: list[Callable[[], None]]) -> None:
    for callback in callbacks:
        callback()
