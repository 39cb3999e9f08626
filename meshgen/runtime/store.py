"""Where `meshgen.put` puts values: with the replica whose code it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.values import ValueStore
from meshgen.types import DeploymentID, Payload, Token, new_value_id


class ReplicaStore:
    """Keeps values that code of this process makes; others fetch them at `address`."""

    def __init__(self, owner: DeploymentID, values: ValueStore) -> None:
        self._owner = owner
        self._values = values
        self._loop = asyncio.get_running_loop()
        # Where others find this process; empty until it serves.
        self.address = ""

    def keep(self, payload: Payload) -> OwnValue:
        """Keep a value for as long as what this returns lives; from any thread."""
        value_id = new_value_id()
        self._on_loop(self._values.put, value_id, payload)
        token = Token(self._owner, self.address, value_id)
        return OwnValue(token, payload, partial(self._on_loop, self._values.release, value_id))

    def _on_loop(self, function: Callable[..., None], *args: object) -> None:
        # In the order of asking, which is also that of the calls that tell others of it.
        self._loop.call_soon_threadsafe(function, *args)


class OwnValue:
    """A value that this very process keeps."""

    # It is not about to leave.
    payload: Payload | None = None
    error: BaseException | None = None

    def __init__(self, token: Token, value: Payload, release: Callable[[], None]) -> None:
        self.token = token
        self._value = value
        self._release = release

    def fetch(self, reply: Reply) -> None:
        """It is here."""
        reply.resolve(self._value, codec.decode)

    def __del__(self) -> None:
        with suppress(RuntimeError):  # the loop has ended, and all values with it
            self._release()
