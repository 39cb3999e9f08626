"""From hints to fields: what each becomes in Protobuf, and what becomes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NewType, Optional, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from meshgen.typed.prototext import proto_text
from tests.typed.models import Box, Color, Grade, Item, Options, Page, Point, Tree
from tests.typed.services import typed

UserId = NewType("UserId", int)
T = TypeVar("T")
B = TypeVar("B", bound=str)
C = TypeVar("C", int, str)


def _text(hint: Any, default: Any = None, *, has_default: bool = False) -> str:
    """The .proto of a method with a parameter of this hint."""

    def method(x: Any) -> None:
        raise NotImplementedError

    method.__annotations__ = {"x": hint, "return": None}
    method.__defaults__ = (default,) if has_default else None
    return proto_text(typed(method).schema, "note")


def _field(text: str, message: str = "InvokeRequest") -> str:
    """All that is in a message, on one line."""
    body = text.split(f"message {message} {{")[1].split("\n}")[0]
    return " ".join(body.split())


@pytest.mark.parametrize(
    ("hint", "field"),
    [
        (bool, "bool x"),
        (int, "int64 x"),
        (float, "double x"),
        (str, "string x"),
        (bytes, "bytes x"),
        (date, "string x"),
        (Decimal, "string x"),
        (UUID, "string x"),
        (datetime, "google.protobuf.Timestamp x"),
        (timedelta, "google.protobuf.Duration x"),
        (Any, "google.protobuf.Value x"),
        (object, "google.protobuf.Value x"),
        (None, "google.protobuf.Value x"),
        (Color, "Color x"),
        (Literal["a", "b"], "string x"),
        (Literal[1, None], "optional int64 x"),
        (Literal[Color.RED], "Color x"),
        (UserId, "int64 x"),
        (Annotated[int, "positive"], "int64 x"),
        (B, "string x"),
        (C, "IntOrString x"),
        (T, "google.protobuf.Value x"),
        (list[int], "repeated int64 x"),
        (set[str], "repeated string x"),
        (frozenset[Color], "repeated Color x"),
        (tuple[int, ...], "repeated int64 x"),
        (Sequence[Item], "repeated Item x"),
        (Iterable[bytes], "repeated bytes x"),
        (list, "repeated google.protobuf.Value x"),
        (tuple, "repeated google.protobuf.Value x"),
        (dict, "map<string, google.protobuf.Value> x"),
        (dict[int, Item], "map<int64, Item> x"),
        (Mapping[bool, str], "map<bool, string> x"),
        (dict[UUID, int], "repeated UuidIntEntry x"),
        (dict[float, int], "repeated FloatIntEntry x"),
        (tuple[int, str], "IntStringTuple x"),
        (list[list[int]], "repeated IntList x"),
        (dict[str, dict[str, int]], "map<string, StringIntMap> x"),
        (list[int | None], "repeated OptionalInt x"),
        (int | None, "optional int64 x"),
        (Optional[Item], "Item x"),  # noqa: UP045 - the other spelling
        (list[int] | None, "IntList x"),
        (int | str, "IntOrString x"),
        (int | str | None, "IntOrString x"),
        (str | Literal["a"], "string x"),
        (int | Any, "google.protobuf.Value x"),
        (Item, "Item x"),
        (Options, "Options x"),
        (Point, "Point x"),
        (Tree, "Tree x"),
        (Box[int], "BoxInt x"),
        (Box[list[int]], "BoxListInt x"),
        (np.ndarray, "meshgen.types.v1.Tensor x"),
        (npt.NDArray[np.float32], "meshgen.types.v1.Tensor x"),
    ],
    ids=str,
)
def test_a_hint_becomes_a_field(hint: Any, field: str) -> None:
    """Its label and its type."""
    assert _field(_text(hint)) == f"{field} = 1;"


_ITEMS = "int64 item_1 = 1; repeated string item_2 = 2;"


@pytest.mark.parametrize(
    ("hint", "message", "fields"),
    [
        (tuple[int, list[str]], "IntStringListTuple", _ITEMS),
        (Page[int], "PageInt", "repeated int64 items = 1; PageInt next = 2;"),
        (list[list[int]], "IntList", "repeated int64 values = 1;"),
        (list[dict[str, int]], "StringIntMap", "map<string, int64> entries = 1;"),
        (list[int | None], "OptionalInt", "optional int64 value = 1;"),
        (dict[date, int], "DateIntEntry", "string key = 1; int64 value = 2;"),
        (Point, "Point", "int64 x = 1; optional int64 y = 2;"),
        (Options, "Options", "int64 limit = 1; StringList order = 2; OptionalString note = 3;"),
        (Box[int], "BoxInt", "int64 content = 1; repeated int64 others = 2;"),
        (
            Tree,
            "Tree",
            "string label = 1; repeated Tree children = 2; optional string kind = 3; "
            "optional int64 depth = 4;",
        ),
        (
            Grade | Item | list[int] | float,
            "FloatOrGradeOrIntListOrItem",
            "oneof value { Grade grade = 1; IntList int_list = 2; Item item = 3; "
            "double float_value = 4; }",
        ),
    ],
    ids=str,
)
def test_a_hint_brings_its_messages(hint: Any, message: str, fields: str) -> None:
    """With fields named after what they are."""
    assert _field(_text(hint), message) == fields


@pytest.mark.parametrize(
    ("hint", "default", "field"),
    [
        (int, 3, "optional int64 x"),
        (int, None, "optional int64 x"),
        (int | None, None, "optional int64 x"),
        (int | None, 3, "OptionalInt x"),
        (Item, Item("a"), "Item x"),
        (Any, 3, "google.protobuf.Value x"),
        (list[int], (), "repeated int64 x"),
        (list[int], [1], "IntList x"),
        (list[int], None, "IntList x"),
        (dict[str, int], {}, "map<string, int64> x"),
        (dict[str, int], {"a": 1}, "StringIntMap x"),
    ],
    ids=str,
)
def test_a_field_with_a_default_tells_whether_it_was_given(
    hint: Any, default: Any, field: str
) -> None:
    """Absent means the default; where absent, empty and None differ, there is a message around."""
    assert _field(_text(hint, default, has_default=True)) == f"{field} = 1;"


def test_an_enum_has_its_members_by_name() -> None:
    """After a zero that is none of them."""
    text = _text(Color)
    assert "  COLOR_UNSPECIFIED = 0;\n  COLOR_RED = 1;\n  COLOR_DARK_BLUE = 2;\n" in text
    assert "// What it looks like.\nenum Color {" in text


def test_a_member_called_unspecified_is_the_zero() -> None:
    """Two values of one name cannot be."""
    assert "  GRADE_UNSPECIFIED = 0;\n  GRADE_GOOD = 1;\n}" in _text(Grade)


def test_a_class_is_told_by_the_first_of_its_docstring() -> None:
    """What comes after is for those who write Python."""
    assert "// One thing to buy.\nmessage Item {" in _text(Item)


@dataclass
class Base(Generic[T]):
    """A generic class to derive from."""

    content: T


@dataclass
class Derived(Base[list[int]]):
    """Knows what its base holds."""

    more: str


def test_a_generic_base_is_filled_in() -> None:
    """By the class that derives from it."""
    assert _field(_text(Derived), "Derived") == "repeated int64 content = 1; string more = 2;"
