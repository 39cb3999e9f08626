"""A deployment whose methods are typed RPCs: of each kind, with each way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from meshgen import serve
from meshgen.serve.context import current_request, get_replica_context
from meshgen.serve.handle import DeploymentHandle


@dataclass
class Item:
    """Something to sell."""

    name: str
    price: float = 1.0


class SoldOut(Exception):
    """Clients are told."""

    grpc_status = "NOT_FOUND"


class Teapot(Exception):
    """Clients of HTTP are told."""

    http_status = 418


class Shop:
    """Methods of each kind."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()
        self.began = asyncio.Event()
        self.running = self.over = 0

    async def total(self, items: list[Item], rate: float = 1.0) -> float:
        return sum(item.price for item in items) * rate

    def plain(self, x: int) -> int:
        return x + 1

    async def find(self, id: UUID) -> str:
        return str(id)

    async def count(self, n: int) -> AsyncIterator[int]:
        for at in range(n):
            yield at

    def count_plain(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def sell(self, name: str) -> None:
        raise SoldOut(f"no {name} left")

    async def brew(self) -> None:
        raise Teapot("short and stout")

    async def fail(self) -> None:
        raise ValueError("secret")

    async def leave(self) -> None:
        raise SystemExit("secret")

    async def fail_later(self) -> AsyncIterator[int]:
        yield 1
        raise SoldOut("that was all")

    async def lie(self) -> int:
        return "no number"  # type: ignore[return-value]  # which is the point

    async def wait(self) -> None:
        self.began.set()
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
            self.running -= 1
            self.over += 1

    async def waits(self) -> int:
        return self.running

    async def ends(self) -> int:
        return self.over

    async def whoami(self) -> list[str]:
        request = current_request.get()
        assert request is not None
        has_deadline = "deadline" if request.deadline is not None else ""
        return [request.request_id, request.session_id, request.multiplexed_model_id, has_deadline]

    async def repeat(self, text: str) -> str:
        return text

    async def repeat_often(self, text: str) -> AsyncIterator[str]:
        for _ in range(3):
            yield text

    async def wait_at_one(self) -> bool:
        if get_replica_context().replica_tag == "0":
            await asyncio.Event().wait()
        return True

    def anything(self, *args: Any) -> None:
        """Not typed."""


class Store:
    """Not seen by anybody outside."""

    async def stock(self, name: str) -> int:
        return len(name)


class Front(Shop):
    """An ingress that asks another deployment."""

    def __init__(self, store: DeploymentHandle) -> None:
        super().__init__()
        self.store = store

    async def stock(self, name: str) -> int:
        return await self.store.stock.remote(name)


app = serve.deployment(Shop).bind()
chained = serve.deployment(name="Shop")(Front).bind(serve.deployment(Store).bind())
