"""Constructor arguments from driver to replica: readable JSON where it can be, else a pickle."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen import serve
from meshgen.arguments import Arguments, find_applications, misfit, pack, unpack
from meshgen.errors import SerializationError


class _Leaf:
    """A deployment to put into arguments."""


# Not `@serve.deployment`: mypy ignores what a decorator makes of a class.
Leaf = serve.deployment(_Leaf, name="Leaf")


@dataclasses.dataclass
class Config:
    """A user's dataclass."""

    model: Any
    size: int = 3


class Pair(NamedTuple):
    """A user's named tuple."""

    left: Any
    right: Any


class Custom:
    """A user's object that keeps something in an attribute."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner


@dataclasses.dataclass(frozen=True)
class Handle:
    """Stands for a handle in what the constructor gets."""

    name: str


def _sent(*args: Any, **kwargs: Any) -> tuple[Arguments, tuple[Any, ...], dict[str, Any]]:
    """What is packed, and what the constructor gets on the far side."""
    packed = pack(args, kwargs, lambda app: f"D{id(app)}")
    return packed, *unpack(packed, Handle)


def _handle(app: serve.Application) -> Handle:
    return Handle(f"D{id(app)}")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.lists(_JSON, max_size=3), st.dictionaries(st.text(), _JSON, max_size=3))
def test_plain_data_arrives_as_it_was(args: list[Any], kwargs: dict[str, Any]) -> None:
    """Types included: True stays True, 1.0 stays a float, keys keep their order."""
    packed, got_args, got_kwargs = _sent(*args, **kwargs)
    assert repr((got_args, got_kwargs)) == repr((tuple(args), kwargs))
    finite = all(map(math.isfinite, _floats([args, kwargs])))
    assert (packed.json is not None) == (finite and "$deployment" not in repr([args, kwargs]))


def _floats(value: Any) -> list[float]:
    if isinstance(value, float):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [number for item in value for number in _floats(item)] if isinstance(value, list) else []


_APP = Leaf.bind()


@pytest.mark.parametrize(
    ("wrap", "unwrap"),
    [
        (lambda app: app, lambda got: got),
        (lambda app: [[{"a": app}]], lambda got: got[0][0]["a"]),
        (lambda app: (1, (2, (app,))), lambda got: got[1][1][0]),
        (lambda app: {"x": (app,)}, lambda got: got["x"][0]),
        (Config, lambda got: got.model),
        (lambda app: Pair(left=0, right=Config(app)), lambda got: got.right.model),
        (lambda app: Custom(Custom([app])), lambda got: got.inner.inner[0]),
        (lambda app: lambda: app, lambda got: got()),
        (lambda app: np.array([app, 1], dtype=object), lambda got: got[0]),
    ],
    ids=["bare", "list", "tuple", "dict", "dataclass", "namedtuple", "object", "closure", "array"],
)
@pytest.mark.parametrize("keyword", [False, True])
def test_an_application_at_any_depth_becomes_a_handle(
    wrap: Callable[[Any], Any], unwrap: Callable[[Any], Any], keyword: bool
) -> None:
    """Whatever holds it: the walk finds it, and the constructor gets a handle in its place."""
    given_args, given_kwargs = ((), {"x": wrap(_APP)}) if keyword else ((wrap(_APP),), {})
    assert find_applications(given_args, given_kwargs) == ([_APP], [])
    _, args, kwargs = _sent(*given_args, **given_kwargs)
    assert unwrap(kwargs["x"] if keyword else args[0]) == _handle(_APP)


@pytest.mark.parametrize("extra", [0, (0,)], ids=["json", "pickle"])
def test_one_application_in_two_places_is_one_handle(extra: Any) -> None:
    """The identity that the user wrote down is kept, among args and kwargs."""
    packed, args, kwargs = _sent(_APP, [_APP], extra, again=_APP)
    assert (packed.json is not None) == (extra == 0)
    assert args[0] is args[1][0] is kwargs["again"]


def test_two_applications_of_one_deployment_are_two_handles() -> None:
    """Each `.bind()` is a service of its own."""
    first, second = Leaf.bind(), Leaf.bind()
    assert find_applications([first, [second, first]], {}) == ([first, second], [])
    _, args, _ = _sent(first, second)
    assert args == (_handle(first), _handle(second))


def test_json_stays_readable() -> None:
    """A person can read, review and diff what a service is constructed with."""
    packed, *_ = _sent("größer", 2, model=_APP)
    assert packed.json is not None
    assert "größer" in packed.json
    assert json.loads(packed.json) == {
        "args": ["größer", 2],
        "kwargs": {"model": {"$deployment": _handle(_APP).name}},
    }


def _cyclic() -> list[Any]:
    cycle: list[Any] = []
    cycle.append(cycle)
    return cycle


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "number keys"},
        {"$deployment": "looks like a handle"},
        [{"deep": {"$deployment": 1}}],
        Config(model=[1]),
        Pair(1, 2),
        {1, 2},
        b"bytes",
        float("inf"),
        "lone surrogate \udcff",
        {"\udcff": 1},
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_would_change_is_pickled(value: Any) -> None:
    """The constructor gets the very same value, not JSON's idea of it."""
    packed, (got,), kwargs = _sent(value)
    assert packed.json is None and packed.pickle is not None
    assert got == value and type(got) is type(value) and kwargs == {}


def test_a_keyword_that_looks_like_a_handle_is_none() -> None:
    """Keyword names are data too."""
    assert _sent(**{"$deployment": 1})[2] == {"$deployment": 1}


def test_a_list_that_contains_itself_arrives() -> None:
    """Not JSON, but pickle can."""
    _, (got,), _ = _sent(_cyclic())
    assert got[0] is got


def test_arrays_and_lambdas_arrive() -> None:
    """Anything that cloudpickle takes may be an argument."""
    _, (array, function), _ = _sent(np.arange(6).reshape(2, 3), lambda x: x + 1)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert function(1) == 2


def test_each_argument_that_cannot_be_pickled_is_named() -> None:
    """All of them, by position or keyword, with type and reason; the others are still searched."""
    lock = threading.Lock()
    found, errors = find_applications([1, lock, _APP], {"guard": [lock]})
    assert found == [_APP]
    assert [str(error).split(":")[0] for error in errors] == [
        "argument 2 (lock) cannot be pickled",
        "argument 'guard' (list) cannot be pickled",
    ]
    with pytest.raises(SerializationError, match="cannot pickle '_thread.lock'"):
        pack([lock], {}, str)


class _Typed:
    def __init__(self, name: str, *, size: int = 1) -> None:
        self.name, self.size = name, size


@pytest.mark.parametrize(
    ("target", "args", "kwargs", "reason"),
    [
        (_Typed, ("a",), {"size": 2}, None),
        (_Typed, (), {}, "_Typed(name, *, size=1): missing a required argument: 'name'"),
        (_Typed, ("a", 2), {}, "too many positional arguments"),
        (_Typed, ("a",), {"sise": 2}, "got an unexpected keyword argument 'sise'"),
        (dict, (), {"a": 1}, None),  # written in C: nobody can say
        (len, (), {}, None),
        (len, (1,), {}, "it is a function, and has no constructor"),
    ],
)
def test_what_no_constructor_would_take_is_known_before_it_runs(
    target: Any, args: tuple[Any, ...], kwargs: dict[str, Any], reason: str | None
) -> None:
    """Without the types of its parameters, which Python does not look at."""
    found = misfit(target, args, kwargs)
    assert found is None if reason is None else reason in str(found)
