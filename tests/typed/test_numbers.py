"""Numbers by name: whatever order things come in, and whatever goes and comes back."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.errors import OptionError
from meshgen.typed.numbers import Lock, next_lock, with_numbers
from meshgen.typed.schema import Enum, EnumValue, Field, Message, Schema

_NAMES = st.lists(st.sampled_from("abcdefgh"), unique=True)


def _schema(fields: Sequence[str], values: Sequence[str] = ()) -> Schema:
    return Schema(
        path="demo/shop/v1/shop.proto",
        package="demo.shop.v1",
        service="ShopService",
        deployment="Shop",
        messages=(
            Message(name="Item", fields=tuple(Field(name=name, type="string") for name in fields)),
        ),
        enums=(Enum(name="Color", values=tuple(EnumValue(name=name) for name in ("NO", *values))),),
    )


def _build(lock: Lock, fields: Sequence[str], values: Sequence[str] = ()) -> tuple[Schema, Lock]:
    schema, part = with_numbers(_schema(fields, values), lock)
    # As a file has it.
    return schema, json.loads(json.dumps(next_lock(lock, {schema.package: part})))


def _fields(schema: Schema) -> dict[str, int]:
    return {field.name: field.number for field in schema.messages[0].fields}


def test_a_first_build_counts() -> None:
    """Fields from 1 in the order they are declared, enum values from 0."""
    schema, _ = _build({}, ["b", "a"], ["X"])
    assert _fields(schema) == {"b": 1, "a": 2}
    assert [(value.name, value.number) for value in schema.enums[0].values] == [("NO", 0), ("X", 1)]


def test_reordering_changes_nothing() -> None:
    """Numbers follow names; the lock stays the same to the byte."""
    _, first = _build({}, ["a", "b", "c"], ["X", "Y"])
    schema, second = _build(first, ["c", "a", "b"], ["Y", "X"])
    assert _fields(schema) == {"a": 1, "b": 2, "c": 3}
    assert json.dumps(first) == json.dumps(second)


def test_what_is_removed_is_reserved() -> None:
    """Its number and its name, in messages and in enums."""
    _, lock = _build({}, ["a", "b"], ["X", "Y"])
    schema, _ = _build(lock, ["b", "c"], ["Y"])
    assert _fields(schema) == {"b": 2, "c": 3}
    message, enum = schema.messages[0].reserved, schema.enums[0].reserved
    assert message is not None and (message.numbers, message.names) == ((1,), ("a",))
    assert enum is not None and (enum.numbers, enum.names) == ((1,), ("X",))


def test_a_name_that_comes_back_gets_another_number() -> None:
    """It may mean another thing now; the old number stays reserved, the name is in use again."""
    _, lock = _build({}, ["a", "b"])
    _, lock = _build(lock, ["b"])
    schema, _ = _build(lock, ["a", "b"])
    assert _fields(schema) == {"a": 3, "b": 2}
    reserved = schema.messages[0].reserved
    assert reserved is not None and (reserved.numbers, reserved.names) == ((1,), ())


@settings(deadline=None)
@given(st.lists(st.tuples(_NAMES, _NAMES), min_size=1))
def test_no_number_ever_moves_or_means_two_things(
    builds: list[tuple[list[str], list[str]]],
) -> None:
    """Over any history: a name keeps its number from build to build, and none is used again."""
    lock: Lock = {}
    before: dict[str, int] = {}
    retired: set[int] = set()
    for fields, values in builds:
        schema, lock = _build(lock, fields, values)
        now = _fields(schema)
        assert all(now[name] == number for name, number in before.items() if name in now)
        retired |= {number for name, number in before.items() if name not in now}
        assert not retired & set(now.values())
        assert len(set(now.values())) == len(now)
        reserved = schema.messages[0].reserved
        assert retired == set(reserved.numbers if reserved else ())
        before = now


def test_protobufs_own_numbers_are_left_out() -> None:
    """19000 to 19999 belong to implementations."""
    part = {"messages": {"Item": {"a": 18999}}, "enums": {}, "reserved": {}}
    schema, _ = _build({"demo.shop.v1": part}, ["a", "b"])
    assert _fields(schema) == {"a": 18999, "b": 20000}


def test_a_message_with_no_number_left_is_refused() -> None:
    """Protobuf ends at 2**29."""
    part = {"messages": {"Item": {"a": 2**29 - 1}}, "enums": {}, "reserved": {}}
    with pytest.raises(OptionError, match="Item has no number left"):
        _build({"demo.shop.v1": part}, ["a", "b"])


def test_messages_that_are_gone_keep_their_numbers_in_the_lock() -> None:
    """As do packages: what comes back means the same as before."""
    schema, lock = _build({}, ["a", "b"])
    assert next_lock(lock, {})["demo.shop.v1"]["messages"] == {"Item": {"a": 1, "b": 2}}
    empty = Schema(path="", package=schema.package, service="ShopService", deployment="Shop")
    _, part = with_numbers(empty, lock)
    back, _ = _build({schema.package: part}, ["b", "a"])
    assert _fields(back) == {"a": 1, "b": 2}
