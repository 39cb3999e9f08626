"""The items of a streaming call between who brings them and who consumes them, on any thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from meshgen.errors import DeadlineError, RequestCancelledError, SerializationError
from meshgen.reply import Reply, refuse_in_event_loop, wake_on
from meshgen.types import Payload

if TYPE_CHECKING:
    from meshgen.passedstream import PassedStream


class ItemBuffer:
    """The caller's end of one streaming call.

    The feeder waits until the items are `asked_for`, `put`s them and waits for `drained` before it
    reads more, so a slow consumer holds at most one message of items. Items come out in order; an
    error comes after the items before it. A stream that nobody has begun to take can be passed to
    another call instead, once: it is that call's then.
    """

    def __init__(self) -> None:
        # Reentrant: a stream that nobody holds any more is cancelled by the garbage collector,
        # which runs on any thread, one that is inside of a method here included.
        self._lock = threading.RLock()
        self._items: deque[Payload] = deque()
        self._ended = False
        self._error: BaseException | None = None
        self._decode: Callable[[Payload], Any] | None = None
        self._begun = False
        # What stands for this stream among another call's arguments. Held weakly: that call alone
        # says how long it is needed.
        self._passed: ref[PassedStream] | None = None
        self._on_begun: list[Callable[[], None]] = []
        self._on_passable: list[Callable[[], None]] = []
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
            waiting += _emptied(self._on_begun)
        # Who carries out the call holds these items: a circle that only a collection would break.
        self.on_cancel = None
        _call(waiting)
        if self._passed is not None:
            self._finish_passed()
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
            SerializationError: It was passed to another call.
        """
        while (item := self._take(StopAsyncIteration)) is None:
            await wake_on(self._subscribe_arrival)
        assert self._decode is not None
        return self._decode(item)

    async def next_reply(self) -> Reply:
        """The next item, not decoded yet.

        Raises:
            StopAsyncIteration: The stream has ended.
            SerializationError: It was passed to another call.
        """
        while (item := self._take(StopAsyncIteration)) is None:
            await wake_on(self._subscribe_arrival)
        return self._reply(item)

    def next_blocking(self, timeout: float | None = None) -> Any:
        """The next item, blocking this thread until it is here.

        Raises:
            StopIteration: The stream has ended.
            BlockingCallError: This thread runs an event loop.
            DeadlineError: Nothing came within `timeout` seconds.
            SerializationError: It was passed to another call.
        """
        item = self._wait_for_item(timeout)
        assert self._decode is not None
        return self._decode(item)

    def next_reply_blocking(self) -> Reply:
        """The next item, not decoded yet, blocking this thread until it is here.

        Raises:
            StopIteration: The stream has ended.
            BlockingCallError: This thread runs an event loop.
            SerializationError: It was passed to another call.
        """
        return self._reply(self._wait_for_item(None))

    def _wait_for_item(self, timeout: float | None) -> Payload:
        refuse_in_event_loop("`for item in response`", "async for item in response")
        while (item := self._take(StopIteration)) is None:
            arrived = threading.Event()
            self._subscribe_arrival(arrived.set)
            if not arrived.wait(timeout):
                raise DeadlineError(f"no item within {timeout} s; the stream is still open")
        return item

    def _reply(self, item: Payload) -> Reply:
        assert self._decode is not None
        reply = Reply()
        reply.resolve(item, self._decode)
        return reply

    def _take(self, exhausted: type[StopIteration] | type[StopAsyncIteration]) -> Payload | None:
        """The next item; None where there is none yet; the end raised."""
        if not self._begun:
            self._begin()
        with self._lock:
            if not self._items:
                self._raise_at_the_end(exhausted)
                return None
            item = self._items.popleft()
            waiting = [] if self._items else _emptied(self._on_drained)
        _call(waiting)
        return item

    def _begin(self) -> None:
        with self._lock:
            if self._passed is not None:
                raise SerializationError(
                    "this stream was passed to another call, which alone has its items: "
                    "call the generator once for each who needs them"
                )
            self._begun = True
            waiting = _emptied(self._on_begun)
        _call(waiting)

    def _raise_at_the_end(self, exhausted: type[StopIteration] | type[StopAsyncIteration]) -> None:
        if not self._ended:
            return
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

    async def asked_for(self) -> bool:
        """Wait until it is clear who takes the items; whether somebody does here."""
        await wake_on(self._subscribe_begun)
        return self._begun and not self._ended

    def _subscribe_begun(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if not self._begun and not self._ended and self._passed is None:
                self._on_begun.append(callback)
                return
        callback()

    @property
    def passed(self) -> PassedStream | None:
        """What stands for this stream in the call it was passed to, as long as that needs it."""
        return None if self._passed is None else self._passed()

    def refuse_to_pass(self) -> None:
        """Refuse what cannot be passed to a call.

        Raises:
            SerializationError: Somebody has begun to take items, or it was passed already.
        """
        if self._begun:
            raise SerializationError(
                "a stream of which items were taken cannot be passed to another call: "
                "pass it before the first, or pass on the items"
            )
        if self._passed is not None:
            raise SerializationError(
                "this stream was passed to another call already: "
                "call the generator once for each who needs its items"
            )

    def pass_to(self, passed: PassedStream) -> None:
        """Give every item to the call that has `passed` among its arguments.

        Raises:
            SerializationError: Somebody has begun to take items, or it was passed already.
        """
        with self._lock:
            self.refuse_to_pass()
            self._passed = ref(passed)
            waiting = _emptied(self._on_begun)
        _call(waiting)
        if self._ended:
            self._finish_passed()

    def hand_over(self, rest: Payload) -> None:
        """Tell the call that this stream was passed to where its items are."""
        if (passed := self.passed) is not None:
            passed.settle(rest)
        self._tell_passable()

    def _finish_passed(self) -> None:
        """The call gets what is here: nothing more will come."""
        if (passed := self.passed) is not None:
            passed.finish(list(self._items), self._error)
        self._tell_passable()

    def _tell_passable(self) -> None:
        with self._lock:
            waiting = _emptied(self._on_passable)
        _call(waiting)

    def when_passable(self, callback: Callable[[], None]) -> None:
        """Call back once the call that this stream was passed to can leave, or at once."""
        with self._lock:
            passed = self.passed
            if passed is not None and not passed.done:
                self._on_passable.append(callback)
                return
        callback()

    def drop(self) -> None:
        """Nobody is left to take items here: `cancel`, unless another call takes them."""
        if self._passed is None:
            self.cancel()

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
