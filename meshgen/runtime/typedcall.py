"""Calls of typed RPCs: messages go in and come out as bytes, which nobody here looks into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime.streamcall import StreamCall
from meshgen.runtime.unarycall import UnaryCall
from meshgen.types import Payload


class TypedUnaryCall(UnaryCall):
    """A typed call with one response."""

    typed = True


class TypedStreamCall(StreamCall):
    """A typed call with a stream of responses."""

    typed = True


class MessageReply(Reply):
    """Ends with the bytes of the response, whichever way they come."""

    def resolve(self, payload: Payload, decode: Callable[[Payload], Any]) -> None:
        """End with a message. `decode` is for pickles, of which there are none."""
        super().resolve(payload, _message)


class MessageItems(ItemBuffer):
    """Gives the bytes of each response."""

    def put(self, items: Sequence[Payload], decode: Callable[[Payload], Any]) -> None:
        """Add messages that arrived together."""
        super().put(items, _message)


def _message(payload: Payload) -> bytes:
    return bytes(payload.pickle)
