"""What has happened to the calls of a property test, and whether their outcomes fit it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from meshgen.errors import (
    DeadlineError,
    ObjectLostError,
    ReplicaLostError,
    RequestCancelledError,
)
from meshgen.objectref import ObjectRef
from tests.runtime.madecalls import Made
from tests.runtime.stage import Board, NoValueError, number_of


@dataclass(eq=False, kw_only=True)
class History:
    """Everything that may be the cause of an error."""

    board: Board
    # Whether connections end.
    may_lose: bool
    # Of all calls, also of those that the test has forgotten: whose failure is theirs too.
    needs: dict[int, list[int]] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    expired: set[int] = field(default_factory=set)

    def _causes(self, number: int) -> set[int]:
        """A call, and those whose failure is its own."""
        found: set[int] = set()
        todo = [number]
        parents = {child: parent for parent, child in self.board.children.items()}
        while todo:
            each = todo.pop()
            if each not in found:
                found.add(each)
                todo += self.needs.get(each, [])
                todo += [parents[each]] if each in parents else []
        return found

    def _check_error(self, number: int, error: Exception) -> None:
        """A call failed as it may."""
        causes = self._causes(number)
        if isinstance(error, NoValueError):
            (cause,) = error.args
            assert cause in causes and self.board.ends[cause] == "error"
        elif isinstance(error, RequestCancelledError):
            # A call whose deadline has passed is cancelled over there.
            assert causes & (self.cancelled | self.expired)
        elif isinstance(error, DeadlineError):
            assert causes & self.expired
        else:
            assert isinstance(error, ReplicaLostError | ObjectLostError)
            assert self.may_lose, error

    def check(self, made: Made, outcome: Any) -> None:
        """A call has ended as it may."""
        if made.streams:
            self._check_items(made.number, outcome)
        elif isinstance(outcome, Exception):
            self._check_error(made.number, outcome)
        else:
            assert number_of(outcome) == made.number
            assert self.board.begun[made.number] == 1
            assert self.board.took[made.number] == made.needs

    def _check_items(self, number: int, found: list[Any]) -> None:
        produced = self.board.yielded.get(number, [])
        if found and isinstance(found[-1], Exception):
            self._check_error(number, found.pop())
            assert found == produced[: len(found)]
        else:
            assert found == produced and self.board.ends[number] == "end"

    async def check_given(self, number: int, given: ObjectRef[Any]) -> None:
        """What a call gave away, a call that its code made, has ended as it may."""
        child = self.board.children[number]
        try:
            assert number_of(await given) == child
        except Exception as exc:
            self._check_error(child, exc)
