r"""Type hints as Protobuf: what each deployment's typed RPCs are, and how values cross them.

| hint | in Protobuf |
|---|---|
| `bool`, `str`, `bytes` | the same; text must be what UTF-8 can hold |
| `int`, `float` | `int64`, `double`: an int beyond 64 bits does not fit |
| `list`, `set`, `frozenset`, `tuple[X, ...]`, `Sequence`, `Iterable` | `repeated` |
| `tuple[X, Y]` | a message with `item_1` and `item_2` |
| `dict[K, V]` | a map; entries with `key` and `value` where K is none of `str`, `int`, `bool` |
| `X \| None` | `optional`; absent is None |
| a union | a message with a oneof |
| `Literal` | its type, the values checked |
| an Enum | an enum, by the names of its members |
| `datetime` | `google.protobuf.Timestamp`: naive is UTC, and it comes back aware, in UTC |
| `timedelta` | `google.protobuf.Duration`: at most 10 000 years |
| `date`, `Decimal`, `UUID` | `string`, as `str()` writes them |
| a dataclass, TypedDict, NamedTuple, pydantic model | a message of its fields |
| a numpy array | `meshgen.types.v1.Tensor`; what arrives cannot be written to |
| `Any`, `object`, no hint | `google.protobuf.Value`: what JSON can hold, ints up to 2**53 |
| `Iterator[X]` and the like, of a generator | a stream of X |

Where a list, a dict or None would be inside of a list, a dict or a union, and where a default is
neither empty nor None, a message with one field is around it. What is nested more than 100 levels
deep, Protobuf does not read.

`meshgen.typed.register` gives a class of yours a place among these.
"""

from __future__ import annotations

from meshgen.typed.registry import register

__all__ = ["register"]
