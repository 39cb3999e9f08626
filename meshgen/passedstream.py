"""`PassedStream`: what stands for a stream among the arguments of another call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from meshgen.errors import NotServingError
from meshgen.reply import Reply
from meshgen.types import Payload

if TYPE_CHECKING:
    from meshgen.items import ItemBuffer


class PassedStream(Reply):
    """A stream that another call reads. `done` once that call can leave.

    Its `payload` tells the call where the items are; an empty one, that all of them are in `items`.
    It lives as long as that call: a producer that nobody reads by then is stopped.
    """

    items: Sequence[Payload] = ()
    # Why the stream ended after `items`, if by an error: not this reply's own, since it belongs to
    # whoever takes the items.
    failure: BaseException | None = None
    _claimed = False

    def __init__(self, stream: ItemBuffer) -> None:
        super().__init__()
        self._stream = stream

    def claim(self) -> None:
        """Take the stream over from who has held it.

        Raises:
            SerializationError: Somebody has begun to take items, or it was passed already.
        """
        self._stream.pass_to(self)
        self._claimed = True

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call back once the call can leave, from whichever thread brings word of it, or at once.

        Who makes the stream holds the callback, and with it a call that waits: that call holds this
        stream, and nobody else needs to hold either.
        """
        self._stream.when_passable(callback)

    def settle(self, where: Payload) -> None:
        """The items are there."""
        self.resolve(where, _as_it_is)

    def finish(self, items: Sequence[Payload], failure: BaseException | None) -> None:
        """The stream has ended here; ignored where its rest is elsewhere."""
        if not self.done:
            self.items, self.failure = items, failure
            self.settle(Payload(b""))

    def __del__(self) -> None:
        if self._claimed:
            with suppress(NotServingError):  # the mesh is gone already, and the producer with it
                self._stream.cancel()


def _as_it_is(payload: Payload) -> Payload:
    return payload
