"""A deployment whose code does what a test says, when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from meshgen.objectref import ObjectRef
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.serve.handle import DeploymentHandle

# How a call ends; a stream goes on after a value.
How = Literal["small", "large", "error", "given", "end"]


class NoValueError(Exception):
    """What user code raises; with the number of its call."""


def value_of(number: int, *, large: bool = False) -> bytes:
    """What a call of that number makes."""
    return b"%d " % number + bytes(INLINE_LIMIT if large else 0)


def number_of(value: Any) -> int:
    """Which call has made a value."""
    if isinstance(value, list):
        return int(value[0])
    return int(bytes(value).split(b" ", 1)[0])


@dataclass(eq=False)
class Board:
    """What the code of all replicas does and has done; for one test."""

    handle: DeploymentHandle
    # The code that waits for word of how to go on, by the number of its call.
    running: dict[int, asyncio.Future[How]] = field(default_factory=dict)
    # How often the code of each call was begun, and what it did.
    begun: dict[int, int] = field(default_factory=dict)
    took: dict[int, list[int]] = field(default_factory=dict)
    yielded: dict[int, list[int]] = field(default_factory=dict)
    ends: dict[int, How] = field(default_factory=dict)
    # Which call has made another, and which of them it was.
    children: dict[int, int] = field(default_factory=dict)
    kept: list[Any] = field(default_factory=list)
    _last: int = 0

    def next_number(self) -> int:
        """For a new call."""
        self._last += 1
        return self._last

    async def word(self, number: int) -> How:
        """Wait for the test's word."""
        word = asyncio.get_running_loop().create_future()
        self.running[number] = word
        try:
            how: How = await word
            return how
        finally:
            del self.running[number]

    def give_word(self, number: int, how: How) -> None:
        """Let code go on."""
        if not self.running[number].done():
            self.running[number].set_result(how)


class Stage:
    """Makes, takes and gives away values, in calls of itself."""

    board: ClassVar[Board]

    async def make(self, number: int, stubborn: bool, values: Sequence[Any], *taken: Any) -> Any:
        """A value, of other values or of references to them."""
        board = self.board
        board.begun[number] = board.begun.get(number, 0) + 1
        board.took[number] = [number_of(value) for value in taken]
        try:
            how = await board.word(number)
        except asyncio.CancelledError:
            if not stubborn:
                raise
            how = await board.word(number)
        board.ends[number] = how
        if how == "error":
            raise NoValueError(number)
        return self._give(number) if how == "given" else value_of(number, large=how == "large")

    def _give(self, number: int) -> list[Any]:
        child = self.board.children[number] = self.board.next_number()
        return [number, self.board.handle.make.remote(child, False, [])]

    async def keep(self, number: int, stubborn: bool, values: Sequence[Any], *taken: Any) -> Any:
        """The same, and what it refers to is needed for longer."""
        self.board.kept.append(values)
        return await self.make(number, stubborn, values, *taken)

    async def wait_for(
        self, number: int, stubborn: bool, values: Sequence[Any], *taken: Any
    ) -> Any:
        """The same, of what the references refer to."""
        board = self.board
        board.begun[number] = board.begun.get(number, 0) + 1
        found = [number_of(await each) for each in values if isinstance(each, ObjectRef)]
        board.begun[number] -= 1
        made = await self.make(number, stubborn, values, *taken)
        board.took[number] += found
        return made

    async def items(self, number: int, *taken: Any) -> AsyncIterator[bytes]:
        """Values until the test says that it is enough."""
        board = self.board
        board.begun[number] = board.begun.get(number, 0) + 1
        board.yielded[number] = []
        while (how := await board.word(number)) in ("small", "large", "given"):
            item = len(board.yielded[number])
            board.yielded[number].append(item)
            yield value_of(item, large=how == "large")
        board.ends[number] = how
        if how == "error":
            raise NoValueError(number)
