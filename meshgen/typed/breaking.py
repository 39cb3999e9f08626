"""Which changes break clients: what the lock of an earlier build promises, and a new one does not.

Additions never do, but for a new field that requests must have.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from meshgen.typed.numbers import Lock


def breaking_changes(old: Lock, new: Lock) -> list[str]:
    """One sentence for each change that breaks clients of the typed RPCs, over all packages.

    `new` has the parts of the packages that there are now, and no others.
    """
    changes: list[str] = []
    for package, part in sorted(old.items()):
        if package not in new:
            if part.get("rpcs"):
                changes.append(f"{package}: the service is gone, and its clients get UNIMPLEMENTED")
            continue
        compared = _Compared(package, part, new[package])
        changes += [*compared.rpcs(), *compared.fields(), *compared.values()]
    return changes


@dataclass(frozen=True, slots=True)
class _Compared:
    """One package, as it was and as it is."""

    package: str
    old: Mapping[str, Any]
    new: Mapping[str, Any]

    def rpcs(self) -> Iterator[str]:
        """RPCs that are gone, or that stream where they did not."""
        for name, kind in self.old.get("rpcs", {}).items():
            now = self.new["rpcs"].get(name)
            if now is None:
                yield f"{self.package}: the RPC {name} is gone; keep its method, or its name"
            elif now != kind:
                yield f"{self.package}: the RPC {name} was {kind} and now is {now}"

    def fields(self) -> Iterator[str]:
        """Fields that are gone, of another type, or newly required."""
        asked = self._asked_for()
        for message, fields in self.new["types"].items():
            before = self.old.get("types", {}).get(message)
            if before is None:
                continue
            for name, was in before.items():
                if name not in fields:
                    yield f"{self.package}: the field {name} of {message} is gone"
                elif _kind(was) != _kind(fields[name]):
                    now = _kind(fields[name])
                    yield (
                        f"{self.package}: the field {name} of {message} was {_kind(was)} "
                        f"and now is {now}"
                    )
            if message in asked:
                yield from self._requirements(message, before, fields)

    def values(self) -> Iterator[str]:
        """Enum values that are gone."""
        for enum, values in self.new["enums"].items():
            for name in self.old["enums"].get(enum, {}):
                if name not in values:
                    yield f"{self.package}: the value {name} of {enum} is gone"

    def _requirements(
        self, message: str, before: Mapping[str, str], fields: Mapping[str, str]
    ) -> Iterator[str]:
        for name, now in fields.items():
            if now.startswith("required ") and not before.get(name, "").startswith("required "):
                yield (
                    f"{self.package}: the field {name} of {message} is required now, and clients "
                    "so far leave it out; give it a default"
                )

    def _asked_for(self) -> set[str]:
        """The messages that requests contain, and requests themselves."""
        types: Mapping[str, Mapping[str, str]] = self.new["types"]
        found: set[str] = set()
        todo = [f"{name}Request" for name in self.new["rpcs"]]
        while todo:
            message = todo.pop()
            if message in types and message not in found:
                found.add(message)
                for declared in types[message].values():
                    todo += re.findall(r"\w+", declared)
        return found


def _kind(declared: str) -> str:
    """A field's type with its label, but for what tells only whether it may be left out."""
    return re.sub(r"^(required|optional) ", "", declared)
