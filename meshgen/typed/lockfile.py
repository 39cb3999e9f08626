"""`meshgen.lock.json` as text: what `numbers` keeps from build to build."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meshgen.errors import OptionError
from meshgen.specfiles import LOCK
from meshgen.typed.numbers import Lock


def lock_text(lock: Lock) -> str:
    """The file's content, the same for the same lock."""
    return json.dumps(lock, indent=2, sort_keys=False) + "\n"


def read_lock(text: str) -> dict[str, Any]:
    """The lock that a file has.

    Raises:
        OptionError: It is none.
    """
    try:
        lock = json.loads(text)
    except ValueError as exc:
        raise _no_lock(f"it is no JSON ({exc})") from exc
    if not isinstance(lock, dict):
        raise _no_lock("it is no JSON object")
    for package, part in lock.items():
        if not (isinstance(part, dict) and _fits(part)):
            raise _no_lock(f"its part {package!r} is not what a build writes")
    return lock


def _fits(part: Mapping[str, Any]) -> bool:
    return (
        all(_is_numbers(part.get(kind), int) for kind in ("messages", "enums"))
        and _is_numbers(part.get("types", {}), str)
        and _is_map(part.get("rpcs", {}), str)
        and _is_reserved(part.get("reserved"))
    )


def _is_numbers(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(_is_map(inner, kind) for inner in value.values())


def _is_map(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and all(type(inner) is kind for inner in value.values())


def _is_reserved(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(inner, dict)
        and _is_list(inner.get("numbers"), int)
        and _is_list(inner.get("names"), str)
        for inner in value.values()
    )


def _is_list(value: Any, kind: type) -> bool:
    return isinstance(value, list) and all(type(item) is kind for item in value)


def _no_lock(reason: str) -> OptionError:
    return OptionError(
        f"{LOCK} is no lock: {reason}; restore it from version control, "
        "or delete it and number everything anew"
    )
