"""Which methods are typed RPCs, what these are called, and why others are none."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any

import pytest

from meshgen.typed.deployment import TypedDeployment, typed_deployment
from meshgen.typed.schema import Rpc
from meshgen.types import DeploymentID
from tests.typed.models import Celsius, Item, Shop
from tests.typed.services import typed


def _of(target: Callable[..., Any]) -> TypedDeployment:
    return typed_deployment(target, DeploymentID("demo", "Shop"))


def _rpcs(made: TypedDeployment) -> dict[str, Rpc]:
    return {rpc.method: rpc for rpc in made.schema.rpcs if rpc.method}


def test_each_public_method_is_an_rpc() -> None:
    """In PascalCase, streaming where it yields; hooks and private ones are none."""
    rpcs = _rpcs(typed(Shop))
    assert {rpc.method: rpc.name for rpc in rpcs.values()} == {
        "__call__": "Invoke",
        "aside": "Aside",
        "call": "CallMethod",
        "embed": "Embed",
        "find_all": "FindAll",
        "forget": "Forget",
        "mixed": "Mixed",
        "plain": "Plain",
        "watch": "Watch",
    }
    assert [name for name, rpc in rpcs.items() if rpc.streams] == ["aside", "watch"]
    assert rpcs["find_all"].comment == "Finds all of them,\nand takes its time."


def test_the_generic_rpcs_are_there_beside_them() -> None:
    """Under their names, whatever the methods are called."""
    schema = typed(Shop).schema
    assert [rpc.name for rpc in schema.rpcs if not rpc.method] == ["Call", "CallStream"]
    assert schema.full_service == "demo.shop.v1.ShopService"
    assert schema.path == "demo/shop/v1/shop.proto"
    assert schema.comment == "Sells things."


class _Clashing:
    def sayHello(self) -> None: ...
    def say_hello(self) -> None: ...
    def SayHello(self) -> None: ...
    def call_stream(self) -> None: ...
    def invoke(self) -> None: ...
    def __call__(self) -> None: ...


def test_names_that_clash_are_told_apart() -> None:
    """The same way in every build."""
    assert {name: rpc.name for name, rpc in _rpcs(typed(_Clashing)).items()} == {
        "__call__": "Invoke",
        "SayHello": "SayHello",
        "call_stream": "CallStreamMethod",
        "invoke": "InvokeMethod",
        "sayHello": "SayHelloMethod",
        "say_hello": "SayHelloMethodMethod",
    }


def test_a_function_is_invoked() -> None:
    """It is what its deployment does when called."""

    def shout(text: str) -> str:
        return text.upper()

    assert [rpc.name for rpc in _rpcs(typed(shout)).values()] == ["Invoke"]


class _Kinds:
    @staticmethod
    def static(a: int) -> int:
        return a

    @classmethod
    def of_class(cls, a: int) -> int:
        return a

    partial = functools.partialmethod(lambda self, a: a, 1)

    @property
    def computed(self) -> int:
        return 1


def test_methods_of_every_kind_have_the_parameters_that_callers_give() -> None:
    """Neither `self` nor `cls` is a field."""
    made = typed(_Kinds)
    requests = {m.name: [f.name for f in m.fields] for m in made.schema.messages}
    assert requests["StaticRequest"] == requests["OfClassRequest"] == ["a"]
    assert "ComputedRequest" not in requests


def _gathered(method: Callable[..., Iterator[int]]) -> Callable[..., list[int]]:
    @functools.wraps(method)
    def gathered(*args: Any, **kwargs: Any) -> list[int]:
        return list(method(*args, **kwargs))

    return gathered


class _Results:
    def generator(self) -> Iterator[int]:
        yield 1

    async def agenerator(self) -> AsyncIterator[str]:
        yield ""

    def iterable(self) -> Iterable[Item]:
        yield Item("a")

    def unhinted(self):  # type: ignore[no-untyped-def]  # the point of it
        yield 1

    async def coroutine(self) -> bytes:
        return b""


def test_what_a_generator_yields_is_what_its_response_has() -> None:
    """Each item is a message; an `async def` is as a `def`."""
    messages = {m.name: m for m in typed(_Results).schema.messages}
    types = {
        name: messages[f"{name}Response"].fields[0].type
        for name in ("Generator", "Agenerator", "Iterable", "Unhinted", "Coroutine")
    }
    assert types == {
        "Generator": "int64",
        "Agenerator": "string",
        "Iterable": "Item",
        "Unhinted": "google.protobuf.Value",
        "Coroutine": "bytes",
    }


class _Untypable:
    def stars(self, *args: int, **kwargs: int) -> None: ...
    def several(self, a: Celsius, b: list[Celsius]) -> Celsius:
        raise NotImplementedError

    def no_yield(self) -> Iterator[int]:
        return iter([1])

    def lists(self) -> list[int]:  # type: ignore[misc]  # the point of it
        yield 1

    def twins(self, a_b: int, aB: int) -> None: ...
    def größe(self, ж: int) -> None: ...
    def ж(self) -> None: ...

    @_gathered
    def wrapped(self) -> Iterator[int]:
        yield 1


def test_every_reason_is_collected() -> None:
    """One sentence each, naming deployment, method and parameter."""
    mapping = (
        "is Celsius, which has no mapping to Protobuf; "
        "give it one with meshgen.typed.register(), or use another type"
    )
    told = [problem.removeprefix("Shop.").split(" has no typed RPC: ") for problem in
            _of(_Untypable).problems]  # fmt: skip
    assert sorted(map(tuple, told)) == [
        ("größe", "its parameter 'ж' has a name without an ASCII letter, which no .proto can hold"),
        ("lists", "its result is said to be no iterator, but it has a `yield`; "
                  "annotate it `-> Iterator[...]`"),
        ("no_yield", "its result is an iterator, but it has no `yield`; return a list"),
        ("several", f"its parameter 'a' {mapping}"),
        ("several", f"its parameter 'b' {mapping}"),
        ("several", f"its result {mapping}"),
        ("stars", "it takes **kwargs, and messages name every field"),
        ("stars", "it takes *args, and messages name every field"),
        ("twins", "it has 'a_b' and 'aB', which are one name in Protobuf's JSON; "
                  "rename one of them"),
        ("wrapped", "its result is an iterator, but it has no `yield`; return a list"),
        ("ж", "its name has no ASCII letter, and so no .proto can hold it"),
    ]  # fmt: skip


@pytest.mark.parametrize("target", [object, int, functools.partial(print, "a")], ids=str)
def test_what_was_never_written_for_it_is_read_all_the_same(target: Callable[..., Any]) -> None:
    """Builtins have signatures or have none; neither is an error."""
    assert _of(target).schema.service == "ShopService"
