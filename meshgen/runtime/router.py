"""Choose which replica answers a call, and hold calls back while all are busy."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshgen.errors import BackPressureError, MeshError, NotServingError
from meshgen.runtime.calls import PendingCall, no_replica
from meshgen.runtime.peer import Peer
from meshgen.runtime.pinned import PinnedCalls
from meshgen.runtime.resolver import Resolver
from meshgen.stub import DeploymentStub

# How long calls wait for a replica when none takes any, in seconds.
PATIENCE = 30.0
# How long a full or failed replica is left alone: at first, and at most.
_BACKOFF = (0.005, 0.1)
_RECONNECT = (0.1, 2.0)

Connect = Callable[[str, Callable[[Peer], None]], Peer]


def pick(peers: Sequence[Peer], rng: random.Random) -> Peer:
    """Of two random peers, the one with fewer calls in flight."""
    if len(peers) == 1:
        return peers[0]
    first, second = rng.sample(peers, 2)
    return first if first.in_flight <= second.in_flight else second


class Router:
    """Sends the calls of this process to one deployment's replicas, first come first served.

    Owns the peers and the task that looks for new ones; starts looking with the first call.
    """

    def __init__(
        self,
        stub: DeploymentStub,
        resolver: Resolver,
        connect: Connect,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self.stub = stub
        self._patience = patience
        self._resolver = resolver
        self._connect = connect
        self._rng = random.Random()
        self._queue: deque[PendingCall] = deque()
        self._peers: dict[str, Peer] = {}
        # Those that take calls.
        self._serving: list[Peer] = []
        self._failures: dict[str, _Failures] = {}
        self._last_failure = ""
        self._closing: set[asyncio.Task[None]] = set()
        self._look: asyncio.Event = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._served_at = self._loop.time()
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False
        # Those that only one of the replicas can answer.
        self.pinned = PinnedCalls(self)

    @property
    def peers(self) -> list[Peer]:
        """The connections to replicas, also those that are being made."""
        return list(self._peers.values())

    def submit(self, call: PendingCall) -> None:
        """Send a call, or queue it until a replica has room."""
        if self._closed:
            call.fail(self._shut_down())
            return
        call.dispatcher = self
        if call.context.deadline is not None:
            call.watch_deadline(self._loop, call.context.deadline)
        limit = self.stub.max_queued_requests
        if not self._queue and (peer := self._pick()) is not None:
            call.launch(peer)
            return
        if 0 <= limit <= len(self._queue):
            call.fail(
                BackPressureError(
                    f"{call.target} already has {len(self._queue)} calls of this process waiting, "
                    f"and max_queued_requests is {limit}"
                )
            )
            return
        self._queue.append(call)
        self.dispatch()

    def dispatch(self) -> None:
        """Send what can be sent."""
        while self._queue:
            peer = self._pick()
            if peer is None:
                self._wait_for_room()
                return
            call = self._queue.popleft()
            if not call.is_over():
                call.launch(peer)

    def _pick(self) -> Peer | None:
        """The replica for the next call, if any has room."""
        peers = self._serving
        if len(peers) == 1:
            return peers[0] if peers[0].has_room() else None
        open_peers = [peer for peer in peers if peer.has_room()]
        return pick(open_peers, self._rng) if open_peers else None

    def _wait_for_room(self) -> None:
        """Nothing can be sent now: look for replicas, and look again after a back-off."""
        self.watch()
        now = self._loop.time()
        # One whose back-off is over has no room otherwise: its next answer wakes us.
        waits = [peer.busy_until for peer in self._serving if peer.busy_until > now]
        if waits:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_at(min(waits), self.dispatch)
        elif not self._serving:
            self._look.set()

    def watch(self) -> None:
        """Begin to look for replicas."""
        if self._watching is None:
            self._served_at = self._loop.time()
            self._watching = self._loop.create_task(self._watch_replicas())

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: it is first in the queue again."""
        if call.is_over():
            return
        if self._closed:
            call.fail(self._shut_down())
            return
        peer.refusals += 1
        peer.busy_until = self._loop.time() + _backoff(peer.refusals, *_BACKOFF)
        self._queue.appendleft(call)
        self.dispatch()

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a queued call."""
        if call in self._queue:
            self._queue.remove(call)

    def _changed(self, peer: Peer) -> None:
        """A peer has answered, has told another state, or is gone."""
        if peer.closed:
            self._lost(peer)
        if peer.serving is not (peer in self._serving):
            self._serving = [each for each in self._peers.values() if each.serving]
            peer.serving_since = self._loop.time()
        if self._queue:
            self.dispatch()
        self.pinned.changed()

    def _lost(self, peer: Peer) -> None:
        if self._peers.get(peer.address) is not peer:
            return
        del self._peers[peer.address]
        failures = self._failures.setdefault(peer.address, _Failures())
        failures.count = 1 if peer.answered else failures.count + 1
        failures.until = self._loop.time() + _backoff(failures.count, *_RECONNECT)
        self._last_failure = peer.failure or self._last_failure
        unsent, sent = peer.session.lost()
        for awaited in sent:
            awaited.lost()
        for awaited in reversed(unsent):
            if isinstance(awaited, PendingCall):
                awaited.unsent()
                if awaited.place is None:
                    self._queue.appendleft(awaited)
                else:
                    self.pinned.again(awaited, peer)
        task = self._loop.create_task(peer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._look.set()

    async def _watch_replicas(self) -> None:
        """Ask the resolver every period, and at once when a call has nowhere to go."""
        while True:
            await self._reconcile()
            self._give_up_late_calls()
            self._look.clear()
            try:
                async with asyncio.timeout(self._resolver.period):
                    await self._look.wait()
                # Asked for: but not more than a hundred times a second.
                await asyncio.sleep(0.01)
            except TimeoutError:
                pass

    async def _reconcile(self) -> None:
        try:
            addresses = await self._resolver.addresses()
        except OSError as exc:  # too many open files, say: it may be better the next time
            self._last_failure = f"looking for replicas failed: {exc}"
            return
        now = self._loop.time()
        self._failures = {at: self._failures[at] for at in addresses if at in self._failures}
        for address in addresses:
            failures = self._failures.get(address)
            if address not in self._peers and (failures is None or failures.until <= now):
                peer = self._connect(address, self._changed)
                self._peers[address] = peer
                peer.start()

    def _give_up_late_calls(self) -> None:
        now = self._loop.time()
        if not self._queue or any(peer.trusted for peer in self._serving):
            self._served_at = now
        elif now - self._served_at > self._patience:
            error = no_replica(str(self.stub.id), self._patience, self._last_failure)
            self._fail_queue(error)

    def _fail_queue(self, error: MeshError) -> None:
        waiting = list(self._queue)
        self._queue.clear()
        for call in waiting:
            call.fail(error)

    def _shut_down(self) -> NotServingError:
        return NotServingError(f"the mesh that {self.stub.id} belongs to was shut down")

    def refuse_all(self) -> None:
        """Fail every call from now on: the mesh is gone."""
        self._closed = True
        self.pinned.close(self._shut_down())

    async def close(self) -> None:
        """End every call and connection."""
        self.refuse_all()
        if self._retry is not None:
            self._retry.cancel()
        for peer in list(self._peers.values()):
            peer.closed = True
            self._lost(peer)
        # Last: what had not left is in the queue again.
        self._fail_queue(self._shut_down())
        tasks = set(self._closing)
        if self._watching is not None:
            self._watching.cancel()
            tasks.add(self._watching)
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(slots=True)
class _Failures:
    """Connections to one address that failed in a row, and until when it is left alone."""

    count: int = 0
    until: float = 0.0


def _backoff(count: int, first: float, most: float) -> float:
    """Seconds to wait after the `count`th failure in a row."""
    return min(most, first * float(2 ** min(count - 1, 10)))
