"""A union as a message with a oneof: which member a value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshgen.typed.codec import Codec
from meshgen.typed.fields import FieldCodec
from meshgen.typed.misfit import MisfitError, misfit, unexpected
from meshgen.typed.names import ONEOF


def union_codec(members: Sequence[tuple[Codec, FieldCodec]]) -> Codec:
    """A union of these members, in the order of the hint.

    A value is the first member that it fits of those that have its very type, if any has, so that
    `1` is an int in `float | int`, and `[1.5]` a `list[float]` in `list[int] | list[float]`.
    """
    fields = {field.name: field for _, field in members}
    names = ", ".join(fields)

    def matching(value: Any) -> list[FieldCodec]:
        certain = [field for codec, field in members if codec.exact is type(value)]
        return certain or [field for codec, field in members if codec.matches(value)]

    def write(value: Any, message: Any) -> None:
        reason = unexpected(f"one of {names}", value)
        for field in matching(value):
            try:
                return field.put(message, value)
            except MisfitError as exc:
                reason = exc.within(field.name)
                message.ClearField(ONEOF)
        raise reason

    def read(message: Any) -> Any:
        name = message.WhichOneof(ONEOF)
        if name is None:
            raise misfit(f"is required: one of {names}")
        try:
            return fields[name].get(message)
        except MisfitError as exc:
            raise exc.within(name) from exc

    return Codec(
        in_message=True, write=write, read=read, matches=lambda value: bool(matching(value))
    )
