"""A mesh in this process: its ingress takes hints of each kind, and gives back what it got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np
from google.rpc import code_pb2
from google.rpc.status_pb2 import Status
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from meshgen import serve
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.testing import _same_process
from tests.typed.models import Box, Color, Item, Options, Page, Point, Tree

# Longer than any answer takes.
_PATIENCE_S = 10.0


class SoldOut(Exception):
    """Clients are told."""

    grpc_status = "NOT_FOUND"


class Shop:
    """Methods that give back what they got, and some that do something else."""

    async def everything(
        self,
        item: Item,
        tree: Tree | None = None,
        options: Options | None = None,
        page: Page[Item] | None = None,
        either: int | str | Point | None = None,
    ) -> tuple[Item, Tree | None, Options | None, Page[Item] | None, int | str | Point | None]:
        """What has fields."""
        return item, tree, options, page, either

    async def item(self, x: Item) -> Item:
        """A dataclass."""
        return x

    async def tree(self, x: Tree) -> Tree:
        """One that contains itself."""
        return x

    async def options(self, x: Options) -> Options:
        """A TypedDict."""
        return x

    async def box(self, x: Box[int | str]) -> Box[int | str]:
        """A generic class."""
        return x

    async def either(
        self, x: int | str | Point | list[bytes] | None
    ) -> int | str | Point | list[bytes] | None:
        """A union."""
        return x

    async def moments(
        self, at: datetime, on: date, wait: timedelta
    ) -> tuple[datetime, date, timedelta]:
        """What is written as text or as two numbers."""
        return at, on, wait

    async def texts(self, price: Decimal, id: UUID, kind: Literal["a", 1]) -> tuple[Decimal, UUID]:
        """What is checked beyond its type."""
        return price, id

    async def colors(self, x: dict[Color, list[float]]) -> dict[Color, list[float]]:
        """A map, by a key that messages have no keys of."""
        return x

    async def arrays(self, x: np.ndarray, y: list[np.ndarray]) -> np.ndarray:
        """Tensors."""
        return x

    async def anything(self, x: Any) -> Any:
        """Any JSON."""
        return x

    async def count(self, n: int) -> AsyncIterator[int]:
        """A stream that may be long."""
        for at in range(n):
            yield at

    async def sell(self, name: str) -> AsyncIterator[str]:
        """A stream that breaks."""
        yield name
        raise SoldOut(f"no {name} left")

    async def __call__(self, request: Request) -> Response:
        """HTTP that is no typed method."""
        return PlainTextResponse(
            f"{request.method} {request.scope['path']} {await request.body()!r}"
        )


# Whose results are their arguments: what was taken in can be given out, so that nothing but the
# request can be wrong.
ECHOES = frozenset(
    "everything item tree options box either moments texts colors arrays anything".split()
)


@dataclass(frozen=True, slots=True)
class Mesh:
    """A mesh that runs on a loop of its own, and `errors` that nobody awaited."""

    loop: asyncio.AbstractEventLoop
    caller: MeshCaller
    mesh_file: Path
    errors: list[dict[str, Any]]
    # What keeps it running.
    stack: AsyncExitStack

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one input's work; it must end, and end all that it began."""
        result = self.loop.run_until_complete(asyncio.wait_for(work, _PATIENCE_S))
        assert not self.errors, self.errors
        return result


def start() -> Mesh:
    """Start it, for as long as this process lives."""
    loop, stack, errors = asyncio.new_event_loop(), AsyncExitStack(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    graph = build_graph(serve.deployment(Shop).bind())
    caller, folder = loop.run_until_complete(_same_process([graph], stack, over_grpc=False))
    return Mesh(loop, caller, folder.mesh_file, errors, stack)


def check_status(status: Status, method: str) -> None:
    """A status is one of gRPC's, is no OK, and of an echo it says that the request is wrong."""
    name = code_pb2.Code.Name(status.code)
    assert name != "OK"
    assert status.details, status
    if method in ECHOES:
        assert name == "INVALID_ARGUMENT", status
    elif method == "sell":
        assert name in ("INVALID_ARGUMENT", "NOT_FOUND"), status
    else:
        assert name in ("INVALID_ARGUMENT", "CANCELLED", "DEADLINE_EXCEEDED"), status
