"""What messages are called, where the obvious name is taken."""

from __future__ import annotations

import enum
from dataclasses import dataclass, make_dataclass
from typing import Any

from meshgen.typed.deployment import TypedDeployment
from tests.typed.services import echo_of, there, typed


def _made(*hints: Any) -> TypedDeployment:
    names = [f"x{n}" for n, _ in enumerate(hints)]
    source = f"def method({', '.join(names)}): ..."
    scope: dict[str, Any] = {}
    exec(source, scope)  # a method with as many parameters
    method = scope["method"]
    method.__annotations__ = dict(zip(names, hints, strict=True)) | {"return": None}
    return typed(method)


def _messages(made: TypedDeployment) -> set[str]:
    generic = {"CallRequest", "CallResponse", "CallStreamRequest", "CallStreamResponse"}
    return {m.name for m in made.schema.messages} - generic - {"InvokeRequest", "InvokeResponse"}


def _class(name: str, **fields: Any) -> type:
    made = make_dataclass(name, fields.items())
    made.__module__ = "shop.models"
    return made


def test_two_classes_of_one_name_are_named_after_their_modules() -> None:
    """Both of them: neither is the one."""
    one, two = _class("Item", a=int), _class("Item", b=int)
    two.__module__ = "shop.others"
    made = _made(one, list[two])  # type: ignore[valid-type]  # made here
    assert _messages(made) == {"ShopModelsItem", "ShopOthersItem"}


def test_a_class_is_never_called_as_a_request_or_the_service() -> None:
    """Those names are the RPCs' own."""
    taken = ["InvokeRequest", "CallResponse", "ShopService"]
    made = _made(*(_class(name, a=int) for name in taken))
    assert _messages(made) == {f"ShopModels{name}" for name in taken}


def test_a_class_keeps_its_name_before_what_only_wraps() -> None:
    """The list gets a number, and both work."""
    int_list = _class("IntList", a=int)
    made = _made(int_list, list[list[int]])
    assert _messages(made) == {"IntList", "IntList2"}
    converter = echo_of(tuple[int_list, list[list[int]]])  # type: ignore[valid-type]  # made here
    assert there(converter, (int_list(1), [[1], []])) == (int_list(1), [[1], []])


def test_a_class_that_no_proto_could_name_gets_a_name() -> None:
    """Here as elsewhere, only what is read by people."""
    assert _messages(_made(_class("Ж", a=int))) == {"Type"}
    assert _messages(_made(_class("_1st", a=int))) == {"Type1st"}


def test_members_of_a_union_have_names_of_their_own() -> None:
    """Even beside a class that is called as another member is."""
    int_value = _class("IntValue", a=int)
    converter = echo_of(int_value | int)
    assert there(converter, 3) == 3
    assert there(converter, int_value(3)) == int_value(3)


class Foo(enum.Enum):
    """Its value BAR_X would be FOO_BAR_X."""

    BAR_X = 1


class FooBar(enum.Enum):
    """Its value X would be FOO_BAR_X, too."""

    X = 1


def test_values_of_two_enums_have_two_names() -> None:
    """In Protobuf they are in one scope."""
    values = [value.name for enum in _made(Foo, FooBar).schema.enums for value in enum.values]
    assert len(set(values)) == 4


def test_wrapped_alike_is_one_message() -> None:
    """A list and a set of ints differ in Python only."""

    @dataclass
    class Both:
        a: list[list[int]]
        b: list[set[int]]

    Both.__annotations__ = {"a": list[list[int]], "b": list[set[int]]}
    assert _messages(_made(Both)) == {"Both", "IntList"}
