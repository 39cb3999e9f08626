"""Numbers of fields and enum values, by name, the same in every build.

What `meshgen.lock.json` keeps of each package:

    {"shop.cart.v1": {
        "messages": {"Item": {"name": 1, "price": 3}},
        "enums": {"Color": {"COLOR_UNSPECIFIED": 0, "COLOR_RED": 1}},
        "reserved": {"Item": {"numbers": [2], "names": ["label"]}},
        "types": {"Item": {"name": "required string", "price": "optional double"}},
        "rpcs": {"Total": "unary", "Watch": "streaming"}}}

`types` and `rpcs` are what `breaking` compares. A name keeps its number for as long as it stays.
A new one gets the next that never was used, and so does one that comes back after a build without
it: nobody knows what it was then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from meshgen.errors import OptionError
from meshgen.typed.schema import Enum, Message, Reserved, Schema

# As JSON has it.
Lock: TypeAlias = Mapping[str, Any]

_LARGEST = 2**29 - 1
_PROTOBUFS_OWN = range(19000, 20000)


def with_numbers(schema: Schema, lock: Lock) -> tuple[Schema, dict[str, Any]]:
    """The schema with all numbers, and its package's part of the next lock.

    Messages and enums that are gone stay in that part, as they may come back.

    Raises:
        OptionError: A message ran out of numbers.
    """
    book = _Book(_part(lock, schema.package))
    numbered = replace(
        schema,
        messages=tuple(book.message(message) for message in schema.messages),
        enums=tuple(book.enum(enum) for enum in schema.enums),
    )
    return numbered, book.to_lock() | _contract(schema)


def next_lock(old: Lock, parts: Mapping[str, Any]) -> dict[str, Any]:
    """The lock to keep for the next build: these parts by package, and the numbers of others.

    Packages that are gone promise nothing any more, but should they come back, their numbers do.
    """
    gone = {
        package: {name: value for name, value in part.items() if name not in ("rpcs", "types")}
        for package, part in old.items()
    }
    return dict(sorted({**gone, **parts}.items()))


def _contract(schema: Schema) -> dict[str, Any]:
    """What clients rely on."""
    typed = [rpc for rpc in schema.rpcs if rpc.method]
    return {
        "rpcs": {
            rpc.name: "streaming" if rpc.streams else "unary"
            for rpc in sorted(typed, key=lambda rpc: rpc.name)
        },
        "types": {
            message.name: {
                field.name: f"{'required ' if field.required else ''}{field.declared}"
                for field in sorted(message.fields, key=lambda field: field.name)
            }
            for message in sorted(schema.messages, key=lambda message: message.name)
            if not message.is_fixed
        },
    }


def _part(lock: Lock, package: str) -> Lock:
    part = lock.get(package, {})
    return {name: dict(part.get(name, {})) for name in ("messages", "enums", "reserved")}


class _Book:
    """The numbers of one package: what the lock has, and what is added."""

    def __init__(self, part: Lock) -> None:
        self._messages: dict[str, dict[str, int]] = part["messages"]
        self._enums: dict[str, dict[str, int]] = part["enums"]
        self._reserved: dict[str, Any] = part["reserved"]

    def message(self, message: Message) -> Message:
        """With a number for each field, and with what is reserved."""
        if message.is_fixed:
            return message
        names = [field.name for field in message.fields]
        numbers, reserved = self._numbers(self._messages, message.name, names, first=1)
        fields = tuple(replace(field, number=numbers[field.name]) for field in message.fields)
        return replace(message, fields=fields, reserved=reserved)

    def enum(self, enum: Enum) -> Enum:
        """With a number for each value, and with what is reserved."""
        names = [value.name for value in enum.values]
        numbers, reserved = self._numbers(self._enums, enum.name, names, first=0)
        values = tuple(replace(value, number=numbers[value.name]) for value in enum.values)
        ordered = tuple(sorted(values, key=lambda value: value.number))
        return replace(enum, values=ordered, reserved=reserved)

    def to_lock(self) -> dict[str, Any]:
        """What to keep of this package."""
        return {
            "messages": dict(sorted(self._messages.items())),
            "enums": dict(sorted(self._enums.items())),
            "reserved": dict(sorted(self._reserved.items())),
        }

    def _numbers(
        self, kept: dict[str, dict[str, int]], owner: str, names: Sequence[str], *, first: int
    ) -> tuple[dict[str, int], Reserved | None]:
        before = kept.get(owner, {})
        gone = {name: number for name, number in before.items() if name not in names}
        reserved = self._reserve(owner, gone, names)
        used = [*before.values(), *(reserved.numbers if reserved else ())]
        free = _free_numbers(used, first, owner)
        now = {name: before[name] if name in before else next(free) for name in names}
        kept[owner] = dict(sorted(now.items(), key=lambda entry: entry[1]))
        return now, reserved

    def _reserve(
        self, owner: str, gone: Mapping[str, int], names: Sequence[str]
    ) -> Reserved | None:
        old = self._reserved.get(owner, {"numbers": [], "names": []})
        numbers = sorted({*old["numbers"], *gone.values()})
        every = sorted({*old["names"], *gone})
        if not numbers:
            return None
        self._reserved[owner] = {"numbers": numbers, "names": every}
        # A name that came back is in use: protoc allows not both.
        free = tuple(name for name in every if name not in names)
        return Reserved(numbers=tuple(numbers), names=free)


def _free_numbers(used: Iterable[int], first: int, owner: str) -> Iterator[int]:
    number = max(used, default=first - 1)
    while True:
        number += 1
        if number in _PROTOBUFS_OWN:
            number = _PROTOBUFS_OWN.stop
        if number > _LARGEST:
            raise OptionError(f"{owner} has no number left; rename the message or the class")
        yield number
