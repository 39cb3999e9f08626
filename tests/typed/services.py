"""Typed deployments for tests: of one hint, of a class, and written to a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import meshgen
from meshgen.errors import InvalidResultError, InvalidValueError
from meshgen.typed.convert import Converter
from meshgen.typed.deployment import TypedDeployment, typed_deployment
from meshgen.typed.prototext import proto_text
from meshgen.types import DeploymentID

_PROTOS = Path(meshgen.__file__).parent.parent / "protos"
_BUF = """version: v2
modules: [{path: protos}]
lint: {use: [STANDARD]}
breaking: {use: [WIRE_JSON]}
"""


def typed(target: Callable[..., Any], lock: Mapping[str, Any] | None = None) -> TypedDeployment:
    """A class as deployment `Shop` of application `demo`, none of whose methods has a problem."""
    made = typed_deployment(target, DeploymentID("demo", "Shop"), lock)
    assert made.problems == ()
    return made


def echo_of(hint: Any) -> Converter:
    """The conversions of a method that takes and returns one hint."""

    def echo(x: Any) -> Any:
        return x

    echo.__annotations__ = {"x": hint, "return": hint}
    return typed(echo).converters()["__call__"]


def there(converter: Converter, value: Any) -> Any:
    """A value as its method gets it from a request, over the wire."""
    data = converter.request((value,)).SerializeToString()
    args, kwargs = converter.arguments(converter.request_class.FromString(data))
    assert args == ()
    return kwargs["x"]


def back(converter: Converter, value: Any) -> Any:
    """A result as a client gets it from a response, over the wire."""
    data = converter.response(value).SerializeToString()
    return converter.result(converter.response_class.FromString(data))


def write_folder(root: Path, *deployments: TypedDeployment) -> Path:
    """A folder as a build writes it, for buf and protoc."""
    protos = root / "protos"
    for name in ("meshgen/v1/mesh.proto", "meshgen/types/v1/tensor.proto"):
        (protos / name).parent.mkdir(parents=True, exist_ok=True)
        (protos / name).write_bytes((_PROTOS / name).read_bytes())
    for made in deployments:
        path = protos / made.schema.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(proto_text(made.schema, "Generated."))
    (root / "buf.yaml").write_text(_BUF)
    return root


def violations(raises: Callable[[], Any]) -> dict[str, str]:
    """The places of a call that does not fit, with their reasons."""
    with pytest.raises(InvalidValueError) as caught:
        raises()
    return dict(caught.value.violations)


def refused(hint: Any, value: Any) -> str:
    """Why a result does not fit."""
    with pytest.raises(InvalidResultError) as caught:
        echo_of(hint).response(value)
    return "; ".join(f"{path}: {reason}" for path, reason in caught.value.violations)


def arguments_of(converter: Converter, **fields: Any) -> Any:
    """What a method gets from a request with these fields."""
    return converter.arguments(converter.request_class(**fields))
