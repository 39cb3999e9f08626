"""Hints without what only wraps them."""

from __future__ import annotations

import typing
from typing import Any


def bare_hint(hint: Any) -> Any:
    """The hint without what only wraps it: Annotated, NewType, aliases, variables."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = hint.__origin__
        elif isinstance(hint, typing.TypeVar):
            hint = hint.__bound__ or typing.Union[hint.__constraints__ or (Any,)]  # noqa: UP007 - of a tuple
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        else:
            return hint
