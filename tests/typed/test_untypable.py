"""Hints that have no place in Protobuf: why not, in sentences."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import InitVar, dataclass
from enum import Flag
from typing import Any

import pytest
from pydantic import AliasPath, BaseModel, Field
from starlette.requests import Request

from meshgen.objectref import ObjectRef
from meshgen.serve.response import DeploymentResponse
from meshgen.typed.deployment import typed_deployment
from meshgen.typed.hints import HintReader
from meshgen.typed.prototext import proto_text
from meshgen.typed.untypable import UntypableError
from meshgen.types import DeploymentID
from tests.typed.models import Celsius, Item


def test_a_hint_that_contains_itself_is_refused() -> None:
    """Only classes with fields can: they have a name to refer to."""
    with pytest.raises(UntypableError, match="contains itself, which only classes with fields"):
        HintReader().read(_endless())


def _endless() -> Any:
    """A list of itself."""

    class Endless:
        __supertype__: Any = None

    Endless.__supertype__ = list[Endless]
    return Endless


class _Bits(Flag):
    A = 1


@dataclass
class _Initialised:
    a: int
    b: InitVar[int]


@dataclass
class _Holder:
    thing: Celsius


@dataclass
class _Twins:
    a_b: int
    aB: int


class _ByPath(BaseModel):
    a: int = Field(validation_alias=AliasPath("x", 0))


@dataclass
class _Lost:
    a: Missing  # type: ignore[name-defined]  # noqa: F821 - the point of it


@pytest.mark.parametrize(
    ("hint", "reason"),
    [
        (Request, "is Starlette's Request, which only HTTP has"),
        (DeploymentResponse, "is DeploymentResponse, which stands for the value of another call"),
        (ObjectRef, "is ObjectRef, which stands for the value of another call"),
        (Celsius, "is Celsius, which has no mapping to Protobuf; give it one with meshgen.typed"),
        (list[Celsius], "is Celsius, which has no mapping"),
        (Callable[[], int], "is Callable, which has no mapping"),
        (complex, "is complex, which has no mapping"),
        (type[int], "which has no mapping"),
        (AsyncIterator[int], "which has no mapping"),
        (_Bits, "is the flags _Bits, whose combinations have no names"),
        (_Initialised, "whose constructor needs 'b', which is none of its fields"),
        (_Holder, "has a _Holder in it, whose field 'thing' is Celsius, which has no mapping"),
        (_Twins, "has 'a_b' and 'aB', which are one name in Protobuf's JSON; rename one of them"),
        (_ByPath, "is _ByPath, whose field 'a' is found by a path only"),
        (_Lost, "has hints (_Lost) that cannot be resolved: name 'Missing' is not defined"),
        (list[int] | set[int], "is a union with members that are the same in Protobuf"),
    ],
    ids=str,
)
def test_what_has_no_place_in_protobuf_says_why(hint: Any, reason: str) -> None:
    """In a sentence with deployment, method and parameter; the method has no RPC then."""

    def method(x: Any) -> None:
        raise NotImplementedError

    method.__annotations__ = {"x": hint, "return": None}
    made = typed_deployment(method, DeploymentID("demo", "Shop"))
    (problem,) = made.problems
    assert problem.startswith("Shop.__call__ has no typed RPC: its parameter 'x' ")
    assert reason in problem
    assert made.schema.rpcs[0].name == "Call"


def test_a_class_is_not_spoilt_by_one_that_cannot_be() -> None:
    """What a failed hint met on its way is read anew."""

    class Both:
        def good(self, x: Any) -> None:
            raise NotImplementedError

        def bad(self, x: Any) -> None:
            raise NotImplementedError

    Both.bad.__annotations__ = {"x": tuple[Item, Celsius], "return": None}
    Both.good.__annotations__ = {"x": Item, "return": None}
    made = typed_deployment(Both, DeploymentID("demo", "Shop"))
    assert len(made.problems) == 1
    assert "message Item {" in proto_text(made.schema, "note")
