"""Between messages and the arguments and results of a method: defaults, kinds, errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.errors import InvalidResultError, InvalidValueError
from tests.typed.models import Box, Color, Grade, Item, Options, Point, Shop, Tree
from tests.typed.services import arguments_of, back, echo_of, there, typed, violations

_SHOP = typed(Shop).converters()


def test_what_is_left_out_has_its_default() -> None:
    """It is not passed at all."""
    assert arguments_of(_SHOP["call"]) == ((), {})
    assert arguments_of(_SHOP["call"], color=2) == ((), {"color": Color.darkBlue})
    assert arguments_of(_SHOP["mixed"]) == ((), {})
    assert arguments_of(_SHOP["forget"], flags={True: b"x"}) == ((), {"flags": {True: b"x"}})


def test_none_and_the_default_are_told_apart() -> None:
    """Where None is not the default."""
    mixed = _SHOP["mixed"]
    for value in (None, 5, "text", [Item("a")], [], Box(1)):
        assert mixed.arguments(mixed.request((value,))) == ((), {"value": value})


def test_keywords_and_positions_keep_their_kinds() -> None:
    """Positional-only parameters are passed so; one left out before another has its default."""
    plain = _SHOP["plain"]
    assert plain.arguments(plain.request((1, 2), {"c": None})) == ((1, 2), {"c": None})
    assert plain.arguments(plain.request((1,), {"c": "x"})) == ((1,), {"c": "x"})

    def gaps(a: int = 1, b: int = 2, /, c: int = 3) -> None: ...

    converter = typed(gaps).converters()["__call__"]
    assert arguments_of(converter, b=5) == ((1, 5), {})
    assert arguments_of(converter, c=5) == ((), {"c": 5})


def test_a_python_name_and_its_field_are_one() -> None:
    """`from_` is called `from` in Protobuf."""
    forget = _SHOP["forget"]
    assert forget.arguments(forget.request(({},), {"from_": 2}))[1]["from_"] == 2
    assert [field.name for field in forget.request_class.DESCRIPTOR.fields] == ["flags", "from"]


def test_a_method_without_a_result_has_an_empty_response() -> None:
    """What it returns all the same does not fit its hint."""
    forget = _SHOP["forget"]
    assert forget.result(forget.response(None)) is None
    assert forget.response(None).ByteSize() == 0
    with pytest.raises(InvalidResultError, match="result: expected None, got int 3"):
        forget.response(3)


def test_each_item_of_a_stream_is_a_response() -> None:
    """The same functions, called for each."""
    watch = _SHOP["watch"]
    assert watch.streams and watch.path == "/demo.shop.v1.ShopService/Watch"
    assert watch.result(watch.response((3, Item("a")))) == (3, Item("a"))


def test_everything_that_does_not_fit_is_told_with_its_path() -> None:
    """All fields of a request, into lists, maps and classes; not only the first."""
    find = _SHOP["find_all"]
    near, options = {"x": 1}, {"limit": 1}
    request = {"ids": ["x", "y"], "near": near, "options": options}
    message = find.request_class(**request)
    message.by_day.add(key="2020-01-01", value="1")
    message.by_day.add(key="2020-13-01", value="one")
    assert violations(lambda: find.arguments(message)) == {
        "ids[0]": "expected a UUID, got 'x'",
        "by_day[1].key": "expected a date as YYYY-MM-DD, got '2020-13-01'",
        "by_day[1].value": "expected a decimal number, got 'one'",
    }
    assert violations(lambda: arguments_of(find)) == {
        "near": "is required",
        "options": "is required",
    }


def test_an_error_says_which_method_and_where() -> None:
    """In one line that is good for a log."""
    with pytest.raises(InvalidValueError) as caught:
        arguments_of(_SHOP["call"], grade=7)
    assert str(caught.value) == (
        "Shop.call cannot be called like that: "
        "grade: expected one of UNSPECIFIED, GOOD; 7 is no member"
    )


def test_a_wrong_result_is_an_error_of_the_server() -> None:
    """It names the method and the place, and its status blames no caller."""
    with pytest.raises(InvalidResultError) as caught:
        _SHOP["find_all"].response({"a": Item("a", parts=[Item("b", price="c")])})  # type: ignore[arg-type]
    assert str(caught.value) == (
        "Shop.find_all has a result that does not fit its hint: "
        "result['a'].parts[0].price: expected a float, got str 'c'"
    )
    assert caught.value.grpc_status == "INTERNAL"


def test_a_client_cannot_give_what_is_no_parameter() -> None:
    """Nor too much, nor too little."""
    request = _SHOP["__call__"].request
    for args, kwargs in [((), {}), (("a", "b"), {}), (("a",), {"other": 1})]:
        with pytest.raises(InvalidValueError, match=r"Shop\.__call__ takes name; got"):
            request(args, kwargs)


@pytest.mark.parametrize(
    ("hint", "value", "arrived"),
    [
        (int, True, 1),
        (int, np.int32(3), 3),
        (int, Grade.GOOD, 1),
        (float, 3, 3.0),
        (float, np.float32(0.5), 0.5),
        (bool, np.True_, True),
        (bytes, bytearray(b"x"), b"x"),
        (list[int], (1, 2), [1, 2]),
        (Sequence[int], range(2), [0, 1]),
        (list[int | str], [True, "a"], [1, "a"]),
        (list[float | int], [1, 1.5], [1, 1.5]),
        (Any, (1, 2.0, {"a": None}), [1, 2, {"a": None}]),
        (datetime, datetime(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)),
        (Options, {"limit": 1}, {"limit": 1}),
        (list[int] | list[float], [1.5], [1.5]),
        (list[int] | tuple[int, int], (1, 2), (1, 2)),
        (date | datetime, datetime(2020, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC)),
    ],
    ids=str,
)
def test_what_python_takes_for_a_hint_fits_it(hint: Any, value: Any, arrived: Any) -> None:
    """As type checkers do, and numpy's scalars besides."""
    found = back(echo_of(hint), value)
    assert found == arrived and repr(found) == repr(arrived)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(_SHOP)), st.binary(max_size=60))
def test_any_bytes_are_arguments_or_a_sentence(method: str, data: bytes) -> None:
    """What clients send raises nothing but what says that it does not fit."""
    converter = _SHOP[method]
    try:
        message = converter.request_class.FromString(data)
    except Exception:  # protobuf's own, before anything of ours
        return
    try:
        converter.arguments(message)
    except InvalidValueError as exc:
        assert exc.violations


def test_a_wrong_response_is_told_to_the_client_that_reads_it() -> None:
    """A server of another version may send what the hint does not allow."""
    converter = echo_of(UUID)
    with pytest.raises(InvalidResultError, match="result: expected a UUID, got 'x'"):
        converter.result(converter.response_class(result="x"))


def test_records_in_records_are_rebuilt() -> None:
    """Of every kind, with what was left out at its default."""
    converter = echo_of(tuple[Item, Point, Options, Tree, Box[int]])
    value = (Item("a"), Point(1), {"limit": 1}, Tree(theLabel="x"), Box(1))
    assert there(converter, value) == value
