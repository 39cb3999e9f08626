"""Source text that stays readable: quotes, and lines that are broken where they are long."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

_WIDTH = 100


def literal(value: Any) -> str:
    """A value as source text, text in double quotes."""
    if type(value) is str and value.isascii() and value.isprintable():
        return json.dumps(value)
    return repr(value)


def call(head: str, arguments: Sequence[str], end: str, indent: str = "") -> list[str]:
    """`head(arguments)end` on one line if that is short, else with a line for each argument."""
    whole = f"{indent}{head}({', '.join(arguments)}){end}"
    if len(whole) <= _WIDTH or not arguments:
        return [whole]
    return [
        f"{indent}{head}(",
        # Nothing may follow a lone slash or star but a comma, and that is fine.
        *(f"{indent}    {argument}," for argument in arguments),
        f"{indent}){end}",
    ]
