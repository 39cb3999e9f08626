"""What callers of tests are never asked for."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from meshgen.reply import Kept, Reply
from meshgen.stub import DeploymentStub
from meshgen.types import Token


class KeepsNothing:
    """The half of a `Caller` that is about values and replicas: to ask for it fails the test."""

    def borrow(self, token: Token) -> Kept:
        """Never asked for."""
        raise AssertionError("this caller keeps no values")

    def put(self, value: Any, reply: Reply) -> None:
        """Never asked for."""
        raise AssertionError("this caller keeps no values")

    def put_later(self, make: Callable[[], Coroutine[Any, Any, Any]], reply: Reply) -> None:
        """Never asked for."""
        raise AssertionError("this caller keeps no values")

    async def replica_ids(self, stub: DeploymentStub) -> list[str]:
        """Never asked for."""
        raise AssertionError("this caller has no replicas")
