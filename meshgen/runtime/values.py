"""The values one replica keeps for others: each until everyone who held it has let go of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meshgen.errors import ObjectLostError
from meshgen.runtime.spill import Shelf
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

# What is held in memory before values go to disk.
CAPACITY_BYTES = 512 * 1024 * 1024
# Ids of values that are gone; older ones count as never heard of.
_GONE_IDS = 4096
_KEEP_IT = "keep the response or the ObjectRef as long as it is needed"


class UpstreamError(Exception):
    """The call that should have made a value failed; `failure` is what its caller was told."""

    def __init__(self, failure: pb.Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueStats:
    """How much is kept: values, pending and failed ones included; bytes in memory and on disk."""

    count: int
    bytes: int
    spilled_bytes: int


def _nothing() -> None:
    """What is called where nobody wants to know."""


class ValueStore:
    """Values by id, each with a number of holds; for one event loop.

    A value is pending, then has its outcome, then is gone for good: at any time, when the last hold
    on it is released. Every value that was expected must be given an outcome, held or not.
    """

    def __init__(
        self,
        owner: str,
        *,
        capacity: int = CAPACITY_BYTES,
        spill_dir: Path | None = None,
    ) -> None:
        self.owner = owner
        # Called when the number or the bytes of the values changed, and when the last one went.
        self.on_change: Callable[[], None] = _nothing
        self.on_empty: Callable[[], None] = _nothing
        self._holds: dict[str, int] = {}
        self._shelf = Shelf(capacity, spill_dir, self._changed)
        self._failures: dict[str, pb.Failure] = {}
        # Released before their outcome came, which is to be dropped whenever that is.
        self._abandoned: set[str] = set()
        # In the order they went; a dict is an ordered set.
        self._gone: dict[str, None] = {}
        self._waiting: dict[str, dict[asyncio.Future[Payload], None]] = {}
        self._closed = False
        self._keeps_all = False

    def __repr__(self) -> str:
        waiting = sum(len(waiters) for waiters in self._waiting.values())
        return f"<ValueStore {self.owner}: {len(self)} values, {waiting} waiting>"

    def __contains__(self, value_id: str) -> bool:
        return value_id in self._holds

    def __len__(self) -> int:
        return len(self._holds)

    @property
    def stats(self) -> ValueStats:
        """How much is kept now."""
        return ValueStats(
            count=len(self._holds),
            bytes=self._shelf.bytes,
            spilled_bytes=self._shelf.spilled_bytes,
        )

    def expect(self, value_id: str) -> None:
        """Announce a value whose outcome is to come, with one hold on it.

        Nothing happens if it is here already, or gone.
        """
        if self._closed or self._is_gone(value_id) or value_id in self._holds:
            return
        self._holds[value_id] = 1
        self._changed()

    def put(self, value_id: str, payload: Payload) -> None:
        """Keep a value; one that nobody announced gets one hold.

        Nothing happens if it is gone, or has its outcome already.
        """
        if self._takes_outcome(value_id):
            self._shelf.put(value_id, payload)
            for waiter in self._waiters(value_id):
                waiter.set_result(payload)
            self._changed()

    def fail(self, value_id: str, failure: pb.Failure) -> None:
        """As `put`, for a value that could not be made."""
        if self._takes_outcome(value_id):
            self._failures[value_id] = failure
            for waiter in self._waiters(value_id):
                waiter.set_exception(UpstreamError(failure))
            self._changed()

    def hold(self, value_id: str) -> None:
        """Keep a value for one more.

        Raises:
            ObjectLostError: It is not here.
        """
        if value_id not in self._holds:
            raise self._lost(value_id)
        self._holds[value_id] += 1

    def release(self, value_id: str) -> None:
        """Keep a value for one fewer; after the last one it is gone, and so is an unknown one."""
        if self._closed:
            return
        holds = self._holds.get(value_id, 0)
        if holds > 1 or (self._keeps_all and value_id in self._holds):
            self._holds[value_id] = max(0, holds - 1)
            return
        if holds:
            self._drop(value_id)
        self._remember_gone(value_id)
        for waiter in self._waiters(value_id):
            waiter.set_exception(self._lost(value_id))
        if holds:
            self._changed()

    def keep_all(self) -> None:
        """Forget nothing until `close`: somebody who was told of a value may yet ask for it."""
        self._keeps_all = True

    async def get(self, value_id: str) -> Payload:
        """The value, as soon as it is there, however long that takes.

        Raises:
            UpstreamError: It could not be made.
            ObjectLostError: It is gone, or never was here.
        """
        if value_id in self._shelf:
            return await self._read(value_id)
        if (failure := self._failures.get(value_id)) is not None:
            raise UpstreamError(failure)
        if value_id not in self._holds:
            raise self._lost(value_id)
        return await self._wait(value_id)

    def close(self) -> None:
        """Forget all values and fail whoever waits for one; nothing is taken any more."""
        self._closed = True
        self._shelf.close()
        held = bool(self._holds)
        for ids in (self._holds, self._failures, self._gone, self._abandoned):
            ids.clear()
        for value_id in list(self._waiting):
            for waiter in self._waiters(value_id):
                waiter.set_exception(self._lost(value_id))
        if held:
            self._changed()

    def _takes_outcome(self, value_id: str) -> bool:
        """Whether an outcome is to be kept; if so, the value has a hold."""
        if value_id in self._abandoned:
            self._abandoned.discard(value_id)
            self._remember_gone(value_id)
            return False
        finished = value_id in self._shelf or value_id in self._failures
        if self._closed or finished or value_id in self._gone:
            return False
        self._holds.setdefault(value_id, 1)
        return True

    def _drop(self, value_id: str) -> None:
        """Forget a value that is held; its outcome, if that is still to come, as well."""
        del self._holds[value_id]
        if value_id in self._shelf:
            self._shelf.drop(value_id)
        elif self._failures.pop(value_id, None) is None:
            self._abandoned.add(value_id)

    def _is_gone(self, value_id: str) -> bool:
        return value_id in self._gone or value_id in self._abandoned

    def _remember_gone(self, value_id: str) -> None:
        self._gone[value_id] = None
        if len(self._gone) > _GONE_IDS:
            del self._gone[next(iter(self._gone))]

    async def _read(self, value_id: str) -> Payload:
        try:
            return await self._shelf.get(value_id)
        except OSError as exc:
            if self._closed:
                raise self._lost(value_id) from exc
            raise ObjectLostError(
                f"a value of {self.owner} is gone: its file on disk cannot be read ({exc}); "
                "leave the files of a running mesh alone, and call again"
            ) from exc

    async def _wait(self, value_id: str) -> Payload:
        waiter: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(value_id, {})[waiter] = None
        try:
            return await waiter
        finally:
            self._stop_waiting(value_id, waiter)

    def _stop_waiting(self, value_id: str, waiter: asyncio.Future[Payload]) -> None:
        waiters = self._waiting.get(value_id, {})
        waiters.pop(waiter, None)
        if not waiters:
            self._waiting.pop(value_id, None)

    def _waiters(self, value_id: str) -> list[asyncio.Future[Payload]]:
        """Who still waits for a value: asked once, when their wait is over."""
        return [w for w in self._waiting.pop(value_id, ()) if not w.done()]

    def _lost(self, value_id: str) -> ObjectLostError:
        if self._closed:
            why = "is gone: the replica has stopped; call again for a new one"
        elif self._is_gone(value_id):
            why = f"is gone: everyone who held it has let go of it; {_KEEP_IT}"
        else:
            why = f"is not there: it never was, or was let go of long ago; {_KEEP_IT}"
        return ObjectLostError(f"a value of {self.owner} {why}")

    def _changed(self) -> None:
        self.on_change()
        if not self._holds:
            self.on_empty()
