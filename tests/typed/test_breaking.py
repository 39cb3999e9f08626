"""Which changes of a deployment break its clients, told in sentences."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from meshgen.typed.breaking import breaking_changes
from meshgen.typed.numbers import next_lock
from tests.typed.models import Item, Shop
from tests.typed.services import typed


def _changes(old: Callable[..., Any], new: Callable[..., Any]) -> list[str]:
    before = typed(old)
    lock = {before.schema.package: before.lock}
    after = typed(new, lock)
    return breaking_changes(lock, {after.schema.package: after.lock})


def _named(name: str, **members: Any) -> type:
    return type(name, (), members)


def _one(count: int) -> str:
    raise NotImplementedError


def _one_text(count: str) -> str:
    raise NotImplementedError


def _one_list(count: list[int]) -> str:
    raise NotImplementedError


def _renamed(number: int = 0) -> str:
    raise NotImplementedError


def _with_default(count: int = 1) -> str:
    raise NotImplementedError


def _with_more(count: int, more: int | None = None, most: list[Item] = []) -> str:  # noqa: B006 - a default as users write it
    raise NotImplementedError


def _with_required(count: int, item: Item) -> str:
    raise NotImplementedError


def _streaming(count: int) -> Iterator[str]:
    yield ""


def _returning_int(count: int) -> int:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("new", "sentences"),
    [
        (_one_text, ["the field count of InvokeRequest was int64 and now is string"]),
        (_one_list, ["the field count of InvokeRequest was int64 and now is repeated int64"]),
        (_renamed, ["the field count of InvokeRequest is gone"]),
        (_streaming, ["the RPC Invoke was unary and now is streaming"]),
        (_returning_int, ["the field result of InvokeResponse was string and now is int64"]),
        (
            _with_required,
            [
                "the field item of InvokeRequest is required now, and clients so far leave it out; "
                "give it a default"
            ],
        ),
        (_with_default, []),
        (_with_more, []),
        (_one, []),
    ],
    ids=lambda case: getattr(case, "__name__", ""),
)
def test_a_changed_method_is_told_by_what_clients_notice(
    new: Callable[..., Any], sentences: list[str]
) -> None:
    """Types, names, streaming and what must be given; never what is only added."""
    assert _changes(_one, new) == [f"demo.shop.v1: {sentence}" for sentence in sentences]


def test_a_default_taken_away_breaks() -> None:
    """Clients that relied on it send nothing."""
    assert "count of InvokeRequest is required now" in _changes(_with_default, _one)[0]


def test_a_method_that_is_gone_or_renamed_breaks() -> None:
    """One that is added does not."""
    old, new = _named("Shop", one=_one, two=_one), _named("Shop", one=_one, three=_one)
    assert _changes(old, new) == ["demo.shop.v1: the RPC Two is gone; keep its method, or its name"]


def test_a_service_that_is_gone_breaks_once() -> None:
    """The lock forgets the promise, and keeps the numbers."""
    made = typed(Shop)
    lock = {made.schema.package: made.lock}
    assert breaking_changes(lock, {}) == [
        "demo.shop.v1: the service is gone, and its clients get UNIMPLEMENTED"
    ]
    assert breaking_changes(next_lock(lock, {}), {}) == []


def test_what_has_no_clients_breaks_none() -> None:
    """A first build, and the same build again."""
    part = {"demo.shop.v1": typed(Shop).lock}
    assert breaking_changes({}, part) == []
    assert breaking_changes(part, part) == []


class _Before:
    class Color(enum.Enum):
        RED = 1
        BLUE = 2

    @dataclass
    class Thing:
        name: str
        size: int = 0


class _After:
    class Color(enum.Enum):
        BLUE = 2
        GREEN = 3

    @dataclass
    class Thing:
        name: str
        size: int
        weight: float = 0.0


def _method(takes: Any, returns: Any) -> Callable[..., Any]:
    def method(x: Any) -> Any:
        raise NotImplementedError

    method.__annotations__ = {"x": takes, "return": returns}
    return method


def test_an_enum_value_that_is_gone_breaks() -> None:
    """Whoever sends it is refused."""
    changes = _changes(_method(_Before.Color, None), _method(_After.Color, None))
    assert changes == ["demo.shop.v1: the value COLOR_RED of Color is gone"]


def test_what_requests_contain_may_not_require_more() -> None:
    """In a response the same change is none that clients notice."""
    asked = _changes(_method(list[_Before.Thing], int), _method(list[_After.Thing], int))
    assert asked == [
        "demo.shop.v1: the field size of Thing is required now, and clients so far leave it out; "
        "give it a default"
    ]
    assert _changes(_method(int, _Before.Thing), _method(int, _After.Thing)) == []
