"""Hints and values that Hypothesis makes up survive messages, and JSON."""

from __future__ import annotations

import functools
import json
import typing
from collections.abc import Hashable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Optional, Union
from uuid import UUID

import numpy as np
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from meshgen.runtime import jsoncall
from meshgen.typed.convert import Converter
from meshgen.typed.hints import HintReader
from meshgen.typed.untypable import UntypableError
from tests.typed.models import Box, Color, Grade, Item, Options, Page, Point, Tree
from tests.typed.services import back, echo_of, there

_Case = tuple[Any, "st.SearchStrategy[Any]"]
_INT = st.integers(-(2**63), 2**63 - 1)
_TEXT = st.text(max_size=8)
_FLOAT = st.floats(allow_nan=False)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip

_HASHABLE: list[_Case] = [
    (bool, st.booleans()),
    (int, _INT),
    (float, _FLOAT),
    (str, _TEXT),
    (bytes, st.binary(max_size=8)),
    (date, st.dates()),
    (Decimal, st.decimals(allow_nan=False)),
    (UUID, st.uuids()),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (timedelta, st.timedeltas(timedelta(days=-3_000_000), timedelta(days=3_000_000))),
    (Color, st.sampled_from(Color)),
    (Grade, st.sampled_from(Grade)),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
    (Point, st.builds(Point, _INT, _INT)),
]
_ITEMS: st.SearchStrategy[Item] = st.deferred(
    lambda: st.builds(
        Item,
        name=_TEXT,
        price=_FLOAT,
        color=st.sampled_from(Color),
        tags=st.lists(_TEXT, max_size=2),
        parts=st.lists(_ITEMS, max_size=1),
        extra=st.none() | st.dictionaries(_TEXT, st.lists(_INT, max_size=2), max_size=2),
        sizes=st.tuples() | st.tuples(_INT),
    )
)
_TREES = st.recursive(
    st.builds(Tree, theLabel=_TEXT, depth=st.integers(0, 9)),
    lambda inner: st.builds(
        Tree,
        theLabel=_TEXT,
        children=st.lists(inner, max_size=2),
        kind=st.sampled_from(["leaf", "branch"]),
    ),
    max_leaves=4,
)
_OPTIONS: st.SearchStrategy[Options] = st.fixed_dictionaries(
    {"limit": _INT},
    optional={"order": st.lists(_TEXT, max_size=2), "note": st.none() | _TEXT},
)  # type: ignore[assignment]  # a plain dict is what a TypedDict is
_PAGES = st.builds(
    lambda items, others: Page[Item](items=items, next=Page[Item](items=others)),
    st.lists(_ITEMS, max_size=2),
    st.lists(_ITEMS, max_size=1),
)
_LEAVES: list[_Case] = [
    *_HASHABLE,
    (Any, _JSON),
    (None, st.none()),
    (Item, _ITEMS),
    (Tree, _TREES),
    (Options, _OPTIONS),
    (Page[Item], _PAGES),
    (Box[int], st.builds(Box, _INT, st.tuples() | st.tuples(_INT))),
]


def _many(case: _Case) -> st.SearchStrategy[_Case]:
    hint, values = case
    lists = st.lists(values, max_size=3)
    return st.sampled_from(
        [
            (_of(list, hint), lists),
            (_of(Sequence, hint), lists),
            (_of(tuple, hint, ...), lists.map(tuple)),
            (_of(Optional, hint), st.none() | values),
            (_of(dict, str, hint), st.dictionaries(_TEXT, values, max_size=3)),
        ]
    )


def _of(generic: Any, *args: Any) -> Any:
    return generic[args if len(args) > 1 else args[0]]


def _several(cases: tuple[_Case, _Case]) -> st.SearchStrategy[_Case]:
    (first, ones), (second, others) = cases
    pair = (_of(tuple, first, second), st.tuples(ones, others))
    if Any in (first, second, *typing.get_args(first), *typing.get_args(second)):
        return st.just(pair)  # a union with Any is Any
    return st.sampled_from([pair, (_of(Union, first, second), ones | others)])


def _keyed(cases: tuple[_Case, _Case]) -> st.SearchStrategy[_Case]:
    (key, keys), (hint, values) = cases
    return st.sampled_from(
        [
            (_of(dict, key, hint), st.dictionaries(keys, values, max_size=3)),
            (_of(set, key), st.sets(keys, max_size=3)),
            (_of(frozenset, key), st.frozensets(keys, max_size=3)),
        ]
    )


def _grown(inner: st.SearchStrategy[_Case]) -> st.SearchStrategy[_Case]:
    return (
        inner.flatmap(_many)
        | st.tuples(inner, inner).flatmap(_several)
        | st.tuples(st.sampled_from(_HASHABLE), inner).flatmap(_keyed)
    )


_CASES = st.recursive(st.sampled_from(_LEAVES), _grown, max_leaves=4)
_FITTING = _CASES.filter(lambda case: _is_typable(case[0])).flatmap(
    lambda case: st.tuples(st.just(case[0]), case[1])
)


def _is_typable(hint: Any) -> bool:
    if hint in [leaf for leaf, _ in _LEAVES]:
        return True
    try:
        HintReader().read(hint)
    except UntypableError:
        return False
    return True


@functools.cache
def _cached(hint: Hashable, _text: str) -> Converter:
    return echo_of(hint)


def _echo(hint: Any) -> Converter:
    # With its text: equal hints can differ, as Literal[1, True] and Literal[True, 1] do.
    return _cached(hint, repr(hint))


_quick = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_quick
@given(_FITTING)
def test_a_value_that_fits_its_hint_survives_the_wire(case: tuple[Any, Any]) -> None:
    """As an argument, and as a result; equal, and of the same type."""
    hint, value = case
    for arrived in (there(_echo(hint), value), back(_echo(hint), value)):
        assert arrived == value
        assert type(arrived) is type(value) or hint is Any or isinstance(value, bool | int | float)


@_quick
@given(_FITTING)
def test_a_value_that_fits_its_hint_survives_json(case: tuple[Any, Any]) -> None:
    """Protobuf's JSON of the response, as text, leads back to the same value."""
    hint, value = case
    converter = _echo(hint)
    text = json_format.MessageToJson(converter.response(value))
    json.loads(text)
    assert converter.result(json_format.Parse(text, converter.response_class())) == value


@_quick
@given(_FITTING)
def test_a_value_that_fits_its_hint_survives_http(case: tuple[Any, Any]) -> None:
    """As an argument and as a result, as the gateway reads and writes them; of the same type."""
    hint, value = case
    converter = _echo(hint)
    sent = jsoncall._json(converter.request((value,)))
    read = jsoncall._parse(converter.request_class, sent.encode())
    _, arguments = converter.arguments(converter.request_class.FromString(read))
    told = json_format.Parse(jsoncall._json(converter.response(value)), converter.response_class())
    for arrived in (arguments["x"], converter.result(told)):
        assert arrived == value
        assert type(arrived) is type(value) or hint is Any or isinstance(value, bool | int | float)


_ARRAYS = st.sampled_from("bool i1 u2 <i8 >i4 f2 f4 >f8 c8 c16".split()).flatmap(
    lambda dtype: st_numpy.arrays(dtype, st_numpy.array_shapes(min_dims=0, min_side=0))
)


@_quick
@given(_ARRAYS)
def test_an_array_survives_the_wire(array: np.ndarray[Any, Any]) -> None:
    """Values, shape and dtype, but for the byte order; without a copy, and so read-only."""
    arrived = there(_echo(np.ndarray), array)
    assert arrived.shape == array.shape
    assert arrived.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(arrived, array, equal_nan=array.dtype.kind in "fc")
    assert not arrived.flags.writeable


@_quick
@given(_ARRAYS)
def test_an_array_survives_json(array: np.ndarray[Any, Any]) -> None:
    """Its bytes are base64 there."""
    converter = _echo(np.ndarray)
    text = json_format.MessageToJson(converter.response(array))
    arrived = converter.result(json_format.Parse(text, converter.response_class()))
    assert arrived.shape == array.shape
    assert np.array_equal(arrived, array, equal_nan=array.dtype.kind in "fc")
