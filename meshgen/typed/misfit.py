"""A value that does not fit its shape, on its way up to where its field is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class MisfitError(Exception):
    """Internal to this package: `convert` makes one of the public errors of it.

    `violations` are paths, innermost part last, each with the reason.
    """

    def __init__(self, violations: Iterable[tuple[tuple[str, ...], str]]) -> None:
        super().__init__()
        self.violations = list(violations)

    def within(self, part: str) -> MisfitError:
        """The same, seen from one level further up: a field's name, or `[index]`."""
        return MisfitError(((part, *path), reason) for path, reason in self.violations)

    def pairs(self, root: str = "") -> list[tuple[str, str]]:
        """Pairs of path and reason, such as `("items[2].price", "expected a float, got 'x'")`."""
        parts = (root,) if root else ()
        return [(path_text((*parts, *path)), reason) for path, reason in self.violations]


def misfit(reason: str) -> MisfitError:
    """The value itself does not fit."""
    return MisfitError([((), reason)])


def unexpected(wanted: str, value: Any) -> MisfitError:
    """The value is something else than was wanted."""
    return misfit(f"expected {wanted}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in an error: its type and its beginning."""
    try:
        text = repr(value)
    except Exception:  # the user's own
        text = "..."
    text = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{type(value).__name__} {text}"


def path_text(parts: Iterable[str]) -> str:
    """Parts as one path: `items`, `[2]`, `price` → `items[2].price`."""
    text = ""
    for part in parts:
        text += part if part.startswith("[") or not text else f".{part}"
    return text
