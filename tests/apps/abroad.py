"""What programs in other languages call: values of each kind, streams, deadlines and errors."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

import numpy as np

from meshgen import serve
from meshgen.serve.context import current_request


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Item:
    """Something to sell."""

    name: str
    price: float = 1.0
    color: Color = Color.RED
    tags: list[str] = field(default_factory=list)
    note: str | None = None


class SoldOut(Exception):
    """Clients are told."""

    grpc_status = "NOT_FOUND"


@serve.deployment
class Shop:
    """Sells items."""

    def __init__(self) -> None:
        self.open = self.closed = 0

    async def total(self, items: list[Item], rate: float = 1.0) -> float:
        return sum(item.price for item in items) * rate

    async def paint(self, item: Item, color: Color) -> Item:
        return Item(item.name, item.price, color, [*item.tags, color.name], item.note)

    def by_name(self, items: dict[str, Item], order: Literal["up", "down"] = "up") -> list[str]:
        return sorted(items, reverse=order == "down")

    async def numbers(self, big: int, data: bytes, price: Decimal) -> tuple[int, bytes, Decimal]:
        return big + 1, data[::-1], price * 2

    async def later(self, at: datetime, by: timedelta) -> datetime:
        return at.astimezone(UTC) + by

    async def either(self, value: int | str | None = None) -> int | str | None:
        return value

    async def anything(self, value: Any) -> Any:
        return {"was": value}

    def double(self, image: np.ndarray) -> np.ndarray:
        return image * 2

    def find(self, id: UUID) -> str:
        return str(id)

    async def count(self, to: int) -> AsyncIterator[int]:
        for at in range(to):
            yield at

    def items(self, names: list[str]) -> Iterator[Item]:
        yield from map(Item, names)

    async def hold(self) -> AsyncIterator[int]:
        """One item, and no end of itself."""
        self.open += 1
        try:
            yield self.open
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    async def held(self) -> tuple[int, int]:
        return self.open, self.closed

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def sell(self, name: str) -> None:
        raise SoldOut(f"no {name} left")

    async def sell_some(self, names: list[str]) -> AsyncIterator[str]:
        for name in names:
            if name == "tea":
                raise SoldOut(f"no {name} left")
            yield name

    async def fail(self) -> None:
        raise ValueError("secret")

    async def whoami(self) -> list[str]:
        request = current_request.get()
        assert request is not None
        return [request.request_id, request.session_id, request.multiplexed_model_id]


app = Shop.bind()
