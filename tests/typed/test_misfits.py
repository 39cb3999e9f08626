"""Values that do not fit their hints: what is said of them, and where."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, TypedDict
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import BaseModel

from meshgen.errors import InvalidValueError
from tests.typed.models import Color, Grade, Item, Tree
from tests.typed.services import arguments_of, echo_of, refused, violations


class _Other(enum.IntEnum):
    GOOD = 1


class _Sum(TypedDict):
    total: int


@pytest.mark.parametrize(
    ("hint", "value", "reason"),
    [
        (int, 2**63, "is beyond the 64 bits that an int has in Protobuf"),
        (int, -(2**63) - 1, "is beyond the 64 bits"),
        (int, 1.0, "expected an int, got float 1.0"),
        (int, "1", "expected an int, got str '1'"),
        (int, np.array([1, 2]), "expected an int"),
        (float, "1", "expected a float, got str '1'"),
        (float, 10**400, "is beyond what a float can be"),
        (bool, 1, "expected a bool, got int 1"),
        (str, b"x", "expected a str, got bytes b'x'"),
        (str, "\ud800", "has lone surrogates, which UTF-8 cannot hold"),
        (bytes, "x", "expected bytes, got str 'x'"),
        (date, datetime(2020, 1, 1), "expected a date"),
        (datetime, date(2020, 1, 1), "expected a datetime"),
        (
            datetime,
            datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=3))),
            "is not between the years 1 and 9999 of UTC",
        ),
        (timedelta, timedelta.max, "is longer than the 10 000 years of a Duration"),
        (Decimal, 1.5, "expected Decimal"),
        (UUID, "x", "expected UUID"),
        (Color, "RED", "expected a member of Color"),
        (Grade, _Other.GOOD, "expected a member of Grade"),
        (Literal[1, "a"], True, "got bool True"),
        (Literal["a"], [], "expected one of 'a', got list []"),
        (None, 0, "expected None, got int 0"),
        (list[None], [0], "result[0]: expected None, got int 0"),
        (list[int], "12", "expected a list, got str '12'"),
        (list[int], [1, "2"], "result[1]: expected an int"),
        (Sequence[str], "ab", "expected a list, got str 'ab'"),
        (set[int], [1], "expected a set"),
        (tuple[int, int], (1,), "expected a tuple of 2"),
        (tuple[int, int], (1, "2"), "result.item_2: expected an int"),
        (dict[str, int], [1], "expected a dict"),
        (dict[str, int], {"a": "b"}, "result['a']: expected an int"),
        (dict[str, int], {1: 1}, "result[1]: expected a str"),
        (dict[date, int], {date(2020, 1, 1): "b"}, "result[0].value: expected an int"),
        (list[list[int]], [[1], [2, "3"]], "result[1][1]: expected an int"),
        (int | str, 1.5, "expected one of int_value, string_value, got float 1.5"),
        (int | list[int], [1, "2"], "result.int_list[1]: expected an int"),
        (Any, ..., "is nothing that JSON can hold; give its method a hint"),
        (Any, {"a": [1, float("nan")]}, "result['a'][1]: nan is nothing that JSON can hold"),
        (Any, 2**53 + 1, "is beyond 2**53, up to which a Value is exact"),
        (Any, {1: 2}, "expected a str as key, got int 1"),
        (Item, "x", "expected Item, got str 'x'"),
        (Item, Item(3, tags=[4]), "result.name: expected a str, got int 3; result.tags[0]: "),  # type: ignore[arg-type, list-item]
        (_Sum, {"totl": 1}, "got one with no key 'total' and a key 'totl' that _Sum does not"),
        (_Sum, [], "expected _Sum, got list []"),
        (npt.NDArray[np.float32], np.ones(2), "expected an array of float32, got one of float64"),
        (np.ndarray, np.array(["a"]), "is no dtype that a Tensor can have"),
        (np.ndarray, [1.0], "expected a numpy array"),
    ],
    ids=lambda case: str(case)[:40],
)
def test_a_value_that_does_not_fit_says_why(hint: Any, value: Any, reason: str) -> None:
    """What was wanted and what was got."""
    assert reason in refused(hint, value)


class _Strict(BaseModel):
    limit: int
    names: list[str] = []

    def model_post_init(self, context: Any) -> None:
        if self.limit > 3:
            raise ValueError("no more than 3")


@dataclass
class _Checked:
    a: int

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("a must not be negative")


def test_what_a_class_itself_refuses_is_told_with_its_reason() -> None:
    """pydantic's validators with the field, constructors with the whole."""
    tree = echo_of(Tree)
    message = tree.request_class()
    message.x.label = "root"
    message.x.children.add(label="leaf", depth=-1)
    reason = "Input should be greater than or equal to 0"
    assert violations(lambda: tree.arguments(message)) == {"x.children[0].depth": reason}
    assert violations(lambda: arguments_of(echo_of(_Strict), x={"limit": 4})) == {
        "x": "Value error, no more than 3"
    }
    assert violations(lambda: arguments_of(echo_of(_Checked), x={"a": -1})) == {
        "x": "a must not be negative"
    }


@pytest.mark.parametrize(
    ("hint", "tensor", "reason"),
    [
        (np.ndarray, {"dtype": "object"}, "'object' is no dtype that a Tensor can have"),
        (np.ndarray, {"dtype": "float32", "shape": [2], "data": b"1234"}, "4 bytes are no float32"),
        (np.ndarray, {"dtype": "int8", "shape": [-1, -1], "data": b"1"}, "1 bytes are no int8"),
        (np.ndarray, {"dtype": "int64", "shape": [0, 2**62]}, "no array can have the shape"),
        (np.ndarray, {"dtype": "int8", "shape": [1] * 99, "data": b"1"}, "no array can have the"),
        (npt.NDArray[np.int8], {"dtype": "float32"}, "expected an array of int8"),
    ],
)
def test_a_tensor_that_is_none_isrefused(hint: Any, tensor: Any, reason: str) -> None:
    """Whatever its shape says of its bytes."""
    assert reason in violations(lambda: arguments_of(echo_of(hint), x=tensor))["x"]


@pytest.mark.parametrize(
    "moment", [{"seconds": 2**60}, {"nanos": -1}, {"seconds": 1, "nanos": 2 * 10**9}]
)
@pytest.mark.parametrize("hint", [datetime, timedelta])
def test_a_moment_that_is_none_isrefused(hint: Any, moment: Any) -> None:
    """Beyond what Python has, and beyond what Protobuf allows."""
    if hint is timedelta and moment == {"nanos": -1}:
        assert arguments_of(echo_of(hint), x=moment)[1]["x"] == timedelta(0)
    else:
        assert "is no" in violations(lambda: arguments_of(echo_of(hint), x=moment))["x"]


def test_values_that_cannot_be_keys_arerefused() -> None:
    """A set of lists, asked for by a hint that allows anything in it."""
    converter = echo_of(set[Any])
    message = converter.request_class()
    message.x.add().list_value.SetInParent()
    assert (
        "cannot be the keys of a dict or in a set"
        in violations(lambda: converter.arguments(message))["x"]
    )


def test_what_contains_itself_isrefused() -> None:
    """As a result, and as what a client gives."""
    item, endless = Item("a"), [1]
    item.parts.append(item)
    endless.append(endless)  # type: ignore[arg-type]  # the point of it
    assert refused(Item, item) == "result: something contains itself, or is nested too deep"
    assert "contains itself" in refused(Any, endless)
    with pytest.raises(InvalidValueError, match="contains itself"):
        echo_of(Item).request((item,))


def test_a_member_of_a_union_must_be_there_and_fit() -> None:
    """Told with its name."""
    converter = echo_of(int | UUID)
    message = converter.request_class()
    message.x.SetInParent()
    assert violations(lambda: converter.arguments(message)) == {
        "x": "is required: one of int_value, uuid_value"
    }
    message.x.uuid_value = "x"
    assert violations(lambda: converter.arguments(message)) == {
        "x.uuid_value": "expected a UUID, got 'x'"
    }


def test_a_map_with_values_that_do_not_fit_says_which() -> None:
    """With the key, in either direction."""
    converter = echo_of(dict[str, UUID])
    assert violations(lambda: arguments_of(converter, x={"a": "b"})) == {
        "x['a']": "expected a UUID, got 'b'"
    }


class _Shy:
    def __repr__(self) -> str:
        raise ValueError("no")


def test_a_value_that_cannot_be_shown_is_named_by_its_type() -> None:
    """An error about a value must not fail itself."""
    assert refused(int, _Shy()) == "result: expected an int, got _Shy ..."
    assert len(refused(int, "x" * 1000)) < 120


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_value_that_no_json_can_hold_is_refused_on_its_way_in(number: float) -> None:
    """Not only on its way out, which would be the fault of the method that gave it back."""
    converter = echo_of(Any)
    message = converter.request_class()
    message.x.list_value.values.add().number_value = number
    reason = f"{number!r} is nothing that JSON can hold; hint a float"
    assert violations(lambda: converter.arguments(message)) == {"x": reason}


def test_null_is_read_as_null_only() -> None:
    """Another Value does not fit None."""
    converter = echo_of(list[None])
    message = converter.request_class()
    message.x.add().number_value = 3
    assert violations(lambda: converter.arguments(message)) == {"x[0]": "expected null, got int 3"}
