"""Classes that the tests of hints use: their annotations resolve only at the top of a module."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, Field

T = TypeVar("T")


class Color(enum.Enum):
    """What it looks like."""

    RED = "r"
    darkBlue = "b"
    GREEN = "g"


class Grade(enum.IntEnum):
    """A member of it is an int, too."""

    UNSPECIFIED = 7
    GOOD = 1


@dataclass
class Item:
    """One thing to buy.

    This is not told to clients.
    """

    name: str
    price: float = 0.0
    color: Color = Color.RED
    tags: list[str] = field(default_factory=list)
    parts: list[Item] = field(default_factory=list)
    extra: dict[str, list[int]] | None = None
    sizes: tuple[int, ...] = (1, 2)


class Options(TypedDict):
    """Keys that may be missing."""

    limit: int
    order: NotRequired[list[str]]
    note: NotRequired[str | None]


class Point(NamedTuple):
    """A place."""

    x: int
    y: int = 3


@dataclass(frozen=True)
class Box(Generic[T]):
    """Anything in a box."""

    content: T
    others: tuple[T, ...] = ()


class Tree(BaseModel):
    """A model that contains itself."""

    label: str = Field(alias="theLabel")
    children: list[Tree] = []
    kind: Literal["leaf", "branch"] = "leaf"
    depth: int = Field(default=0, ge=0)


class Page(BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]
    next: Page[T] | None = None


class Celsius:
    """A class without a mapping until a test registers one."""

    def __init__(self, degrees: float) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Celsius) and other.degrees == self.degrees

    def __hash__(self) -> int:
        return hash(self.degrees)


class Shop:
    """Sells things.

    With much to say about it.
    """

    def __call__(self, name: str) -> str:
        """Greets."""
        return name

    def call(self, color: Color = Color.GREEN, *, grade: Grade | None = None) -> Item | None:
        """Has the name of a generic RPC."""

    def find_all(
        self, ids: set[UUID], near: Point, options: Options, by_day: dict[date, Decimal]
    ) -> dict[str, Item]:
        """Finds all of them,
        and takes its time."""
        raise NotImplementedError

    def watch(self, since: datetime, every: timedelta | None = None) -> Iterator[tuple[int, Item]]:
        """Yields what is new."""
        yield from ()

    async def aside(self, tree: Tree, page: Page[Item]) -> AsyncIterator[bytes]:
        """Yields, too."""
        yield b""

    def mixed(self, value: int | str | list[Item] | Box[int] | None = 5) -> list[list[float]]:
        """Takes one of many."""
        raise NotImplementedError

    def embed(self, image: npt.NDArray[np.float32], options: Any = None) -> np.ndarray[Any, Any]:
        """Takes and returns arrays."""
        raise NotImplementedError

    def plain(self, a, b=3, /, *, c):  # type: ignore[no-untyped-def]  # the point of it
        """Has no hints."""

    def forget(self, flags: dict[bool, bytes], from_: Literal[1, 2] = 1) -> None:
        """Returns nothing."""

    def _hidden(self) -> None:
        raise NotImplementedError

    def reconfigure(self, config: Any) -> None:
        """Is the mesh's to call."""
