"""One replica as a caller sees it, whatever carries the messages."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from meshgen.runtime.session import CallerSession
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

# A connection that has lasted this long works, in seconds.
_TRUST_SECONDS = 1.0
# How long a replica's word on the calls of others there is believed, in seconds.
_HEARSAY_SECONDS = 1.0


class Peer(ABC):
    """A connection to one replica. Owns its tasks; told to `close`, it loses what is open.

    `on_change` is called when a call may go to this replica again, or to it no more.
    """

    def __init__(self, address: str, on_change: Callable[[Peer], None]) -> None:
        self.address = address
        self.session = CallerSession()
        self.closed = False
        # Why the connection ended, where that is known; whether since the two do not fit.
        self.failure = ""
        self.is_unfit = False
        # Calls whose work goes on beside the link: streams, and large payloads on their way.
        self.beside = 0
        # Values that are kept there for this process, and who brings them here if it leaves.
        self.held = 0
        self.on_leaving: Callable[[Peer], None] | None = None
        # How many calls it may have in flight; none unless it takes calls.
        self.limit = 0
        # How many calls it has answered, and since when it takes calls.
        self.answers = 0
        self._counted = 0
        self.serving_since = 0.0
        # Whether it is counted among those that take calls, and must answer a PING before.
        self.is_listed = False
        self.suspect = False
        # Calls in a row that failed beside the link.
        self.wire_failures = 0
        # Calls of other processes there, and until when that is believed.
        self._others = 0
        self._others_until = 0.0
        # Refusals in a row, and until when the replica is left alone for them.
        self.refusals = 0
        self.busy_until = 0.0
        self.just_refused = False
        self._on_change = on_change
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def in_flight(self) -> int:
        """Calls of this process that the replica has not answered."""
        return self.session.in_flight + self.beside

    @property
    def load(self) -> int:
        """What the replica has to do, as far as this process knows."""
        load = len(self.session.calls) + self.beside
        if self._others and self._others_until > time.monotonic():
            load += self._others
        return load

    def new_answers(self) -> int:
        """How many calls it has answered since it was asked this the last time."""
        new, self._counted = self.answers - self._counted, self.answers
        return new

    @property
    def serving(self) -> bool:
        """Whether the replica takes calls, as far as it has told."""
        return not self.closed and self.session.state.phase == pb.REPLICA_PHASE_SERVING

    def has_room(self) -> bool:
        """Whether it takes calls, is not known to be full, and is not left alone for a while."""
        session = self.session
        if len(session.calls) - len(session.waiting) + self.beside >= self.limit:
            return False
        return not self.refusals or self.busy_until <= time.monotonic()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run work that this peer owns."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def works(self) -> bool:
        """Whether it takes calls and has shown it: a link may also break at each first call."""
        return self.serving and (
            self.answers > 0 or time.monotonic() - self.serving_since > _TRUST_SECONDS
        )

    def welcome_again(self) -> None:
        """The replica has run a call: it is not full any more."""
        self.refusals, self.busy_until = 0, 0.0

    def heard(self) -> None:
        """A message of the replica was taken in."""
        session = self.session
        # Ours that are still on their way there make this too small: never too large.
        others = session.ongoing - len(session.calls) + len(session.waiting) - self.beside
        self._others = max(0, others)
        if others > 0:
            self._others_until = time.monotonic() + _HEARSAY_SECONDS
        if self.refusals:
            self._look_for_room()
        self.changed()

    def _look_for_room(self) -> None:
        """A full replica tells those that it has refused, in turn, when it has room again."""
        has_room = self.session.ongoing < self.session.state.max_ongoing_requests
        if has_room and not self.just_refused:
            self.busy_until = 0.0
        self.just_refused = False

    def changed(self) -> None:
        """Tell that a slot, or the replica's state, is another than before."""
        if self.session.state.phase == pb.REPLICA_PHASE_DRAINING:
            self._let_go()
        self.limit = self.session.state.max_ongoing_requests if self.serving else 0
        self._on_change(self)

    def _let_go(self) -> None:
        """The replica leaves."""
        if self.held and self.on_leaving is not None:
            on_leaving, self.on_leaving = self.on_leaving, None
            on_leaving(self)
        if not self.in_flight and not self.held:
            # It waits for our end of the link to know that no call is on its way.
            self.session.outbox.close()

    @abstractmethod
    def start(self) -> None:
        """Begin to connect."""

    @abstractmethod
    async def upload(self, payload: Payload) -> str:
        """Hand over large arguments; the id that a call names them by."""

    @abstractmethod
    async def fetch(self, payload_id: str) -> Payload:
        """Take a large result."""

    @abstractmethod
    def read_on(self, stream_id: str) -> AsyncGenerator[pb.CallStreamResponse, None]:
        """The rest of a stream whose first items came over the link."""

    async def close(self) -> None:
        """Let go of the connection and of every task."""
        self.closed = True
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
