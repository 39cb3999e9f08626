"""The items of a streaming call between who brings them and who consumes them, on any thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from meshgen.errors import DeadlineError, RequestCancelledError
from meshgen.reply import refuse_in_event_loop, wake_on
from meshgen.types import Payload

_ItemBatch = deque[Payload]


class ItemBuffer:
    """The caller's end of one streaming call.

    The feeder `put`s items and waits for `drained` before it reads more, so a slow consumer holds
    at most one message of items. Items come out in order; an error comes after the items before it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._items: _ItemBatch = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._decode: Callable[[Payload], Any] | None = None
        self._on_arrival: list[Callable[[], None]] = []
        self._on_drained: list[Callable[[], None]] = []
        # Set by whoever carries out the call: stops the producer.
        self.on_cancel: Callable[[], None] | None = None

    def put(self, items: Sequence[Payload], decode: Callable[[Payload], Any]) -> None:
        """Add items that arrived together."""
        with self._lock:
            self._decode = decode
            self._items.extend(items)
        self._fire(self._on_arrival)

    def end(self, error: BaseException | None = None) -> None:
        """No more items; with `error`, because of it. Only the first end counts."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self._error = error
        self._fire(self._on_arrival)
        self._fire(self._on_drained)

    async def drained(self) -> None:
        """Return once the consumer has taken every item, or the stream has ended."""
        while not self._ended and self._items:
            await wake_on(self._subscriber(self._on_drained, lambda: not self._items))

    def cancel(self) -> None:
        """Stop the producer; the consumer gets `RequestCancelledError` next. Idempotent."""
        if self._ended:
            return
        self._items.clear()
        if self.on_cancel is not None:
            self.on_cancel()
        self.end(RequestCancelledError("the stream was cancelled by its caller"))

    async def next(self) -> Any:
        """The next item.

        Raises:
            StopAsyncIteration: The stream has ended.
        """
        while not self._ready():
            await wake_on(self._subscriber(self._on_arrival, self._ready))
        return self._take(StopAsyncIteration)

    def next_blocking(self, timeout: float | None = None) -> Any:
        """The next item, blocking this thread until it is here.

        Raises:
            StopIteration: The stream has ended.
            BlockingCallError: This thread runs an event loop.
            DeadlineError: Nothing came within `timeout` seconds.
        """
        refuse_in_event_loop("`for item in response`", "async for item in response")
        while not self._ready():
            arrived = threading.Event()
            self._subscriber(self._on_arrival, self._ready)(arrived.set)
            if not arrived.wait(timeout):
                raise DeadlineError(f"no item within {timeout} s; the stream is still open")
        return self._take(StopIteration)

    def _ready(self) -> bool:
        return bool(self._items) or self._ended

    def _take(self, exhausted: type[StopIteration] | type[StopAsyncIteration]) -> Any:
        if self._items:
            item = self._items.popleft()
            if not self._items and self._on_drained:
                self._fire(self._on_drained)
            assert self._decode is not None
            return self._decode(item)
        if self._error is None:
            raise exhausted
        error, self._error = self._error, None
        raise error

    def _subscriber(
        self, callbacks: list[Callable[[], None]], already: Callable[[], bool]
    ) -> Callable[[Callable[[], None]], None]:
        def subscribe(callback: Callable[[], None]) -> None:
            with self._lock:
                if not already() and not self._ended:
                    callbacks.append(callback)
                    return
            callback()

        return subscribe

    def _fire(self, callbacks: list[Callable[[], None]]) -> None:
        with self._lock:
            waiting = callbacks[:]
            callbacks.clear()
        for callback in waiting:
            callback()
