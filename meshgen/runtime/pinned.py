"""Calls that only one replica can answer: to that one, in the order in which they were made."""

from __future__ import annotations

import asyncio
import bisect
import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from meshgen.errors import ActorDiedError, MeshError, ReplicaLostError, UnavailableError
from meshgen.runtime.calls import PendingCall, no_replica
from meshgen.runtime.peer import Peer
from meshgen.stub import DeploymentStub
from meshgen.types import Place
from meshgen.v1 import mesh_pb2 as pb

# How long a replica that is not to be reached may be away, in seconds.
PATIENCE = 5.0
# How often calls that cannot leave look again, if nothing tells them.
_RETRY = 0.05


class Pool(Protocol):
    """The connections to a deployment's replicas."""

    stub: DeploymentStub

    @property
    def peers(self) -> list[Peer]:
        """Those that there are, also those that are being made."""

    def watch(self) -> None:
        """Begin to look for replicas."""


@dataclass(eq=False)
class _Line:
    """The calls for one place that have not left, in their order."""

    place: Place
    calls: list[PendingCall] = field(default_factory=list)
    # Those that could leave.
    ready: set[PendingCall] = field(default_factory=set)
    is_moving: bool = False
    asks: bool = False
    # Since when nobody takes them.
    stuck_since: float | None = None
    timer: asyncio.TimerHandle | None = None


class PinnedCalls:
    """A call waits for those before it to leave: for their arguments, and until they are uploaded.

    Lives on the mesh's loop, as the pool does.
    """

    def __init__(self, pool: Pool, *, patience: float = PATIENCE) -> None:
        self._pool = pool
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._lines: dict[Place, _Line] = {}
        self._numbers = itertools.count()
        self._closed: MeshError | None = None
        # Set at every change of a peer.
        self._news = asyncio.Event()

    def queue_up(self, call: PendingCall, place: Place) -> None:
        """Take the next place in the order; `submit` tells when the call could leave."""
        call.place, call.line, call.number = place, self, next(self._numbers)
        self._line(place).calls.append(call)

    def _line(self, place: Place) -> _Line:
        line = self._lines.get(place)
        if line is None:
            line = self._lines[place] = _Line(place)
        return line

    def submit(self, call: PendingCall) -> None:
        """Send a call when those before it have left."""
        if self._closed is not None:
            call.fail(self._closed)
            return
        call.dispatcher = self
        if call.context.deadline is not None:
            call.watch_deadline(self._loop, call.context.deadline)
        if call.is_over() or call.place is None:
            return
        line = self._line(call.place)
        line.ready.add(call)
        self._move(line)

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: it is in its place of the order again."""
        if call.is_over() or call.place is None:
            return
        if self._closed is not None:
            call.fail(self._closed)
            return
        line = self._line(call.place)
        if call.line is None:
            call.line = self
            bisect.insort(line.calls, call, key=_number)
        line.ready.add(call)
        self._wait(line)

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a call that has not left."""
        if call.line is not None:
            self.moved_on(call)

    def moved_on(self, call: PendingCall) -> None:
        """It has left, or has ended: the next one's turn."""
        call.line = None
        assert call.place is not None
        line = self._lines[call.place]
        line.calls.remove(call)
        line.ready.discard(call)
        line.stuck_since = None
        if not line.calls:
            self._drop(line)
        elif not line.is_moving:
            self._move(line)

    def _drop(self, line: _Line) -> None:
        del self._lines[line.place]
        if line.timer is not None:
            line.timer.cancel()

    def changed(self) -> None:
        """A peer has told another state, or is gone."""
        self._news.set()
        if self._lines:
            for line in list(self._lines.values()):
                self._move(line)

    def _move(self, line: _Line) -> None:
        """Send what can be sent."""
        reply = line.place.reply
        if line.is_moving:
            return
        if not reply.done:
            self._ask(line)
        elif reply.error is not None:
            self._fail(line, _as_death(line.place, reply.error))
        else:
            line.is_moving = True
            try:
                self._send(line, line.place.replica_id())
            finally:
                line.is_moving = False

    def _ask(self, line: _Line) -> None:
        """Go on when the place is known."""
        if not line.asks:
            line.asks = True
            # Waits for it as user code does: it may have to be fetched.
            line.place.reply.join(partial(self._know, line))

    def _know(self, line: _Line) -> None:
        """The place is known; told from whichever thread."""
        self._loop.call_soon_threadsafe(self._move, line)

    def _send(self, line: _Line, replica_id: str) -> None:
        peer = self._peer(replica_id)
        while line.calls and line.calls[0] in line.ready:
            if peer is None or not peer.has_room():
                self._wait(line)
                return
            call = line.calls[0]
            line.ready.discard(call)
            if call.is_over():
                self.moved_on(call)
            else:
                call.launch(peer)

    def _peer(self, replica_id: str) -> Peer | None:
        self._pool.watch()
        for peer in self._pool.peers:
            if peer.serving and peer.session.state.replica_id == replica_id:
                return peer
        return None

    def _wait(self, line: _Line) -> None:
        now = self._loop.time()
        if line.stuck_since is None:
            line.stuck_since = now
        if now - line.stuck_since > self._patience:
            self._fail(line, self._gone(line.place))
            return
        if line.timer is not None:
            line.timer.cancel()
        line.timer = self._loop.call_later(_RETRY, self._move, line)

    def _gone(self, place: Place) -> ActorDiedError:
        return ActorDiedError(
            f"{place.resident} is lost: no replica {place.replica_id()} of {self._pool.stub.id} "
            f"was to be reached for {self._patience:g} s"
        )

    def _fail(self, line: _Line, error: BaseException) -> None:
        # Nothing leaves meanwhile.
        line.is_moving = True
        for call in list(line.calls):
            call.fail(error)
        line.is_moving = False

    async def replica_ids(self) -> list[str]:
        """The replicas that take calls now, in order; waits for the first.

        Raises:
            UnavailableError: There is none for a while.
        """
        self._pool.watch()
        try:
            async with asyncio.timeout(self._patience):
                while self._undecided():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pass
        found = sorted(peer.session.state.replica_id for peer in self._pool.peers if peer.serving)
        if not found:
            raise no_replica(str(self._pool.stub.id), self._patience, "")
        return found

    def _undecided(self) -> bool:
        """Whether there is no replica yet, or one of which nothing is known."""
        unknown = pb.REPLICA_PHASE_UNSPECIFIED
        peers = self._pool.peers
        return not any(peer.serving for peer in peers) or any(
            not peer.closed and peer.session.state.phase == unknown for peer in peers
        )

    def close(self, error: MeshError) -> None:
        """Fail every call, now and from now on."""
        self._closed = error
        for line in list(self._lines.values()):
            self._fail(line, error)


def _number(call: PendingCall) -> int:
    return call.number


def _as_death(place: Place, error: BaseException) -> BaseException:
    """What calls of an actor fail with that was never made."""
    if isinstance(error, ReplicaLostError | UnavailableError):
        return ActorDiedError(f"{place.resident} was not made: {error}")
    return error
