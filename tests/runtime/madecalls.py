"""A call that a property test has made, with whoever waits for its outcome."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from meshgen.serve.response import DeploymentResponse, DeploymentResponseGenerator
from tests.runtime.stage import number_of


@dataclass(eq=False)
class Made:
    """A call that the test has made."""

    number: int
    response: Any
    # Whose failure is this call's too.
    needs: list[int]
    # Whether it refers to no other.
    is_plain: bool = False
    # Who waits for its outcome, or takes its items.
    waiter: asyncio.Task[Any] | None = None
    # The items that were taken, and the error after them.
    found: list[Any] = field(default_factory=list)

    @property
    def streams(self) -> bool:
        """Whether it is of a generator."""
        return isinstance(self.response, DeploymentResponseGenerator)

    def wait(self) -> asyncio.Task[Any]:
        """Have somebody wait."""
        if self.waiter is None:
            work = self._items() if self.streams else _outcome(self.response)
            self.waiter = asyncio.get_running_loop().create_task(work)
        return self.waiter

    async def _items(self) -> list[Any]:
        try:
            async for item in self.response:
                self.found.append(number_of(item))
        except Exception as exc:
            self.found.append(exc)
        return self.found


async def _outcome(response: DeploymentResponse[Any]) -> Any:
    try:
        return await response
    except Exception as exc:
        return exc
