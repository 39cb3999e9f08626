"""An application with every kind of hint, and a gRPC server that answers for its typed methods."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc

from meshgen.build.loader import load_target
from meshgen.build.project import Built, build_project
from meshgen.typed.convert import Converter
from meshgen.typed.deployment import TypedDeployment

ECHO = '''
import dataclasses
import enum
import time
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NotRequired, TypedDict
from uuid import UUID

import numpy as np
from pydantic import BaseModel

from meshgen import serve, typed


class Color(enum.Enum):
    """What it looks like."""

    RED = "r"
    blue = "b"


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: float = 0.5


@dataclasses.dataclass
class Item:
    """One thing to "buy"."""

    name: str
    color: Color = Color.RED
    tags: list[str] = dataclasses.field(default_factory=list)
    parts: list["Item"] = dataclasses.field(default_factory=list)
    sizes: tuple[int, ...] = (1, 2)


class Pair(NamedTuple):
    left: str
    right: int | None = None


class Options(TypedDict):
    limit: int
    order: NotRequired[list[str]]


class Tree(BaseModel):
    label: str
    children: list["Tree"] = []


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


def to_float(celsius: Celsius) -> float:
    return celsius.degrees


typed.register(Celsius, to_float, Celsius)


@serve.deployment(expose=True)
class Echo:
    """Returns what it is given."""

    def scalars(
        self, a: bool, b: int, c: float, d: str, e: bytes, f: date, g: Decimal, h: UUID
    ) -> tuple[bool, int, float, str, bytes, date, Decimal, UUID]:
        return a, b, c, d, e, f, g, h

    def moments(self, at: datetime, span: timedelta) -> tuple[datetime, timedelta]:
        return at, span

    def items(self, items: list[Item], by_name: dict[str, Item]) -> list[Item]:
        return [*items, *by_name.values()]

    def points(self, points: set[Point]) -> frozenset[Point]:
        return frozenset(points)

    def places(self, days: dict[date, list[int]], near: dict[int, Pair]) -> dict[date, list[int]]:
        return {**days, date(2000, 1, 1): [pair.right or 0 for pair in near.values()]}

    def options(self, options: Options) -> Options:
        return options

    def tree(self, tree: Tree) -> Tree | None:
        return tree.children[0] if tree.children else None

    def anything(self, value: Any) -> Any:
        return value

    def one_of(self, value: int | str | list[Item] | Point | None) -> int | str | Pair | None:
        return Pair("point", value.x) if isinstance(value, Point) else value

    def chosen(self, value: Literal["a", "b", 3]) -> Literal["a", "b", 3]:
        return value

    def nested(self, value: list[list[int | None]]) -> dict[str, list[int | None]]:
        return {str(n): row for n, row in enumerate(value)}

    def warmer(self, celsius: Celsius, by: list[Celsius]) -> Celsius:
        return Celsius(celsius.degrees + sum(each.degrees for each in by))

    def double(self, array: np.ndarray[Any, np.dtype[np.float32]]) -> np.ndarray[Any, Any]:
        return array * 2

    def defaults(
        self, a: int, b: int = 2, /, c: list[int] = [3], *, d: str = "d", e: str | None = None
    ) -> str:
        return f"{a}{b}{c}{d}{e}"

    def list(self, timeout: int, metadata: str = "m") -> list[str]:
        return [f"{timeout}{metadata}"]

    def count(self, to: int) -> Iterator[Item]:
        for n in range(to):
            yield Item(str(n))

    def nothing(self) -> None:
        pass

    def slow(self, seconds: float) -> None:
        time.sleep(seconds)


@serve.deployment
class Inner:
    def hidden(self) -> int:
        return 1


@serve.deployment
class Front:
    def __init__(self, *others):
        self.others = others

    def __call__(self, name: str) -> str:
        """Greets."""
        return f"Hello {name}"


app = Front.bind(Echo.bind(), Inner.bind())
'''


def build_client(folder: Path, text: str, name: str) -> Built:
    """Build an application that consists of one file."""
    source = folder / f"{name}_source"
    source.mkdir()
    (source / f"{name}_app.py").write_text(text)
    return build_project(load_target(f"{source / f'{name}_app.py'}:app", name=name), folder / name)


def client_folder(built: Built) -> Path:
    """Where the client's pyproject.toml is."""
    return built.out / "clients" / "python"


@contextmanager
def importable(built: Built) -> Iterator[ModuleType]:
    """The client's package, imported."""
    folder, name = str(client_folder(built)), f"{built.plan.app}_client"
    sys.path.insert(0, folder)
    try:
        yield importlib.import_module(name)
    finally:
        sys.path.remove(folder)
        for each in [each for each in sys.modules if each.partition(".")[0] == name]:
            del sys.modules[each]


@contextmanager
def serving(
    deployments: Sequence[tuple[TypedDeployment, Any]],
    credentials: grpc.ServerCredentials | None = None,
    seen: list[dict[str, Any]] | None = None,
) -> Iterator[int]:
    """Serve the typed methods of these deployments by these objects; the port.

    What a gateway and a replica do in a mesh, with the same conversions. `seen` is given the
    metadata of each call.
    """
    server = grpc.server(ThreadPoolExecutor(4))
    handlers = {
        converter.path: _handler(converter, _method(target, name), seen)
        for made, target in deployments
        for name, converter in made.converters().items()
    }
    server.add_generic_rpc_handlers((_Handlers(handlers),))
    port: int = (
        server.add_insecure_port("127.0.0.1:0")
        if credentials is None
        else server.add_secure_port("127.0.0.1:0", credentials)
    )
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def service(self, details: Any) -> Any:
        return self._handlers.get(details.method)


def _method(target: Any, name: str) -> Callable[..., Any]:
    method: Callable[..., Any] = getattr(target, name)
    return method


def _handler(
    converter: Converter, method: Callable[..., Any], seen: list[dict[str, Any]] | None
) -> Any:
    def arguments(message: Any, context: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if seen is not None:
            seen.append(dict(context.invocation_metadata()))
        return converter.arguments(message)

    def unary(message: Any, context: Any) -> Any:
        args, kwargs = arguments(message, context)
        return converter.response(method(*args, **kwargs))

    def stream(message: Any, context: Any) -> Iterator[Any]:
        args, kwargs = arguments(message, context)
        yield from map(converter.response, method(*args, **kwargs))

    kind = grpc.unary_stream_rpc_method_handler if converter.streams else None
    make = kind or grpc.unary_unary_rpc_method_handler
    return make(
        stream if converter.streams else unary,
        request_deserializer=converter.request_class.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
