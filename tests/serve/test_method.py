"""What a method promises its callers, and who hears of it."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from meshgen import serve
from meshgen.errors import MeshError, OptionError, OptionTypeError
from meshgen.graph import build_graph
from meshgen.stub import MethodStub, method_stubs


def _logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class Cart:
    """Some methods that promise something."""

    @serve.method(idempotent=True)
    def total(self) -> int:
        """Once or twice."""
        return 1

    @serve.method(idempotent=True, hedge_after_s=0.05)
    async def price(self) -> int:
        """At two replicas."""
        return 1

    @serve.method()
    def add(self) -> None:
        """As without a word."""

    @_logged
    @serve.method(idempotent=True)
    def wrapped(self) -> None:
        """The wrapper says it, too."""

    @serve.method(idempotent=True)
    @staticmethod
    def static() -> None:
        """Has no self."""

    @serve.method(idempotent=True)
    @classmethod
    def of_class(cls) -> None:
        """Has a class."""

    def plain(self) -> None:
        """Says nothing."""


class SpecialCart(Cart):
    """Overrides one of them."""

    def total(self) -> int:
        """A promise is not inherited by other code."""
        return 2


def _policy(stub: MethodStub) -> tuple[bool, float | None]:
    return stub.idempotent, stub.hedge_after_s


@pytest.mark.parametrize(
    ("name", "promised"),
    [
        ("total", (True, None)),
        ("price", (True, 0.05)),
        ("add", (False, None)),
        ("wrapped", (True, None)),
        ("static", (True, None)),
        ("of_class", (True, None)),
        ("plain", (False, None)),
    ],
)
def test_a_stub_says_what_its_method_promises(name: str, promised: object) -> None:
    """However the method is made."""
    assert _policy(method_stubs(Cart)[name]) == promised


def test_an_overriding_method_promises_for_itself() -> None:
    """The inherited ones go on to."""
    stubs = method_stubs(SpecialCart)
    assert not stubs["total"].idempotent and stubs["price"].idempotent


def test_a_function_deployment_promises_too() -> None:
    """Below `@serve.deployment`."""

    @serve.deployment
    @serve.method(idempotent=True)
    def shout(text: str) -> str:
        return text.upper()

    stub = build_graph(shout.bind()).ingress.stub
    assert stub.method("__call__").idempotent


def test_the_method_stays_what_it_was() -> None:
    """It is called as without the decorator."""
    assert Cart().total() == 1 and Cart.total.__name__ == "total"


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"idempotent": 1}, OptionTypeError, "idempotent must be True or False, got 1"),
        ({"idempotent": True, "hedge_after_s": "1"}, OptionTypeError, "must be seconds, got '1'"),
        ({"idempotent": True, "hedge_after_s": True}, OptionTypeError, "must be seconds, got True"),
        ({"idempotent": True, "hedge_after_s": 0}, OptionError, "must be positive, got 0"),
        ({"idempotent": True, "hedge_after_s": -1.0}, OptionError, "must be positive, got -1.0"),
        ({"idempotent": True, "hedge_after_s": float("nan")}, OptionError, "be positive, got nan"),
        ({"idempotent": True, "hedge_after_s": float("inf")}, OptionError, "be positive, got inf"),
        ({"hedge_after_s": 0.1}, OptionError, "may run a call twice: say idempotent=True"),
    ],
)
def test_a_bad_value_is_refused(
    given: dict[str, Any], error: type[MeshError], sentence: str
) -> None:
    """Where it is written."""
    with pytest.raises(error, match=sentence):
        serve.method(**given)


def _items() -> Iterator[int]:
    yield 1


async def _async_items() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("generator", [_items, _async_items])
def test_a_generator_cannot_promise_it(generator: Callable[..., Any]) -> None:
    """Streams are never sent twice."""
    with pytest.raises(OptionError, match="items is a generator: streams are never sent twice"):
        serve.method(idempotent=True)(generator)


def test_it_is_for_functions_only() -> None:
    """A class or deployment below it is a mistake in the order."""

    @serve.deployment
    def function() -> None: ...

    wrong: list[Any] = [Cart, function, 3]
    for each in wrong:
        with pytest.raises(OptionTypeError, match=r"it stands below @serve\.deployment"):
            serve.method(idempotent=True)(each)
