"""Names of fields, and what is wrong with several of them in one message."""

from __future__ import annotations

from collections.abc import Iterable

from meshgen.naming import words
from meshgen.typed.untypable import UntypableError


class FieldName(str):
    """A field in lower_snake_case: `maxLength` → `max_length`, `_x` → `x`, `from_` → `from`."""

    def __new__(cls, name: str) -> FieldName:
        """Derive it from a parameter's or an attribute's name.

        Raises:
            UntypableError: Nothing of it can be written in a .proto file.
        """
        snake = "_".join(words(name))
        if not snake:
            raise UntypableError("has a name without an ASCII letter, which no .proto can hold")
        return super().__new__(cls, snake if snake[0].isalpha() else f"field_{snake}")


def check_distinct(names: Iterable[tuple[str, str]]) -> None:
    """Refuse pairs of Python's and Protobuf's name that cannot be in one message.

    Raises:
        UntypableError: Two are the same field, or the same key in JSON.
    """
    seen: dict[str, str] = {}
    for python, proto in names:
        # What JSON calls a field has no underscores; protoc refuses two of one name.
        key = proto.replace("_", "")
        if key in seen:
            raise UntypableError(
                f"has {seen[key]!r} and {python!r}, which are one name in Protobuf's JSON; "
                "rename one of them"
            )
        seen[key] = python
