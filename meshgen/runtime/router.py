"""Send the calls of a process to a deployment's replicas, and hold them back while all are busy."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from meshgen.errors import BackPressureError, MeshError, NotServingError
from meshgen.runtime.budget import Budget
from meshgen.runtime.calls import PendingCall, no_replica
from meshgen.runtime.members import Connect, Members, backoff
from meshgen.runtime.peer import Peer
from meshgen.runtime.pinned import PinnedCalls
from meshgen.runtime.resolver import Resolver
from meshgen.stub import DeploymentStub

# How long calls wait for a replica when none takes any, in seconds.
PATIENCE = 30.0
# How long a full replica is left alone: at first, and at most.
_BACKOFF = (0.005, 0.1)


class Router:
    """Sends the calls of this process to one deployment's replicas, first come first served.

    Owns their connections; starts looking for replicas with the first call.
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
        self.members = Members(stub, resolver, connect, self)
        # Those that only one of the replicas can answer.
        self.pinned = PinnedCalls(self.members)
        self._patience = patience
        self._choice = self.members.choice
        self._budget = Budget()
        # In their order; a dictionary, so that one in the middle can leave at once.
        self._queue: OrderedDict[PendingCall, None] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        # When calls had a replica the last time, or waited for none.
        self._served_at: float | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._closed = False

    def submit(self, call: PendingCall) -> None:
        """Send a call, or queue it until a replica has room."""
        if self._closed:
            call.fail(self._shut_down())
            return
        call.dispatcher = self
        if call.context.deadline is not None:
            call.watch_deadline(self._loop, call.context.deadline)
        peer = None if self._queue else self._choice.pick(call.context.session_id)
        if peer is not None:
            call.launch(peer)
        elif 0 <= self.stub.max_queued_requests <= len(self._queue):
            call.fail(self._too_many())
        else:
            self._queue[call] = None
            self.dispatch()

    def _too_many(self) -> BackPressureError:
        return BackPressureError(
            f"{self.stub.id} already has {len(self._queue)} calls of this process waiting, "
            f"and max_queued_requests is {self.stub.max_queued_requests}"
        )

    def dispatch(self) -> None:
        """Send what can be sent."""
        while self._queue:
            call = next(iter(self._queue))
            peer = self._choice.pick(call.context.session_id)
            if peer is None:
                self._wait_for_room()
                return
            del self._queue[call]
            if not call.is_over():
                call.launch(peer)

    def _wait_for_room(self) -> None:
        """Nothing can be sent now: look for replicas, and look again after a back-off."""
        self.members.watch()
        now, serving = self._loop.time(), self.members.serving
        # One whose back-off is over has no room otherwise: its next answer wakes us.
        waits = [peer.busy_until for peer in serving if peer.busy_until > now]
        if waits:
            if self._retry is not None:
                self._retry.cancel()
            self._retry = self._loop.call_at(min(waits), self.dispatch)
        elif not serving:
            self.members.look()

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: it is first in the queue again."""
        if call.is_over():
            return
        if self._closed:
            call.fail(self._shut_down())
            return
        now = self._loop.time()
        peer.just_refused = True
        # What was refused together is one refusal.
        if peer.busy_until <= now:
            peer.refusals += 1
            peer.busy_until = now + backoff(peer.refusals, *_BACKOFF)
        self._put_first(call)
        self.dispatch()

    def _put_first(self, call: PendingCall) -> None:
        self._queue[call] = None
        self._queue.move_to_end(call, last=False)

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a queued call."""
        self._queue.pop(call, None)

    def changed(self) -> None:
        """A replica has answered, takes calls, or does not any more."""
        if self._queue:
            self.dispatch()
        self.pinned.changed()

    def lost(self, peer: Peer) -> None:
        """A connection has ended: what has left may have run, what has not goes elsewhere."""
        unsent, sent = peer.session.lost()
        self._budget.earn(peer.new_answers())
        if sent:
            self._budget.spend()
        # Backwards, as each is put first: in the end they are in their order again.
        for awaited in reversed(unsent):
            if isinstance(awaited, PendingCall):
                awaited.unsent()
                if awaited.place is None:
                    self._put_first(awaited)
                else:
                    self.pinned.again(awaited, peer)
        for awaited in reversed(sent):
            awaited.lost()

    def may_repeat(self) -> bool:
        """Whether calls may be sent again that may have run."""
        for peer in self.members.peers:
            self._budget.earn(peer.new_answers())
        return self._budget.allows and not self._closed

    def repeat(self, call: PendingCall) -> None:
        """A call that was lost is first in the queue again; the next change sends it."""
        self._put_first(call)

    def second(self, than: Peer) -> Peer | None:
        """Another replica for a second copy of a call, if there is one to spare."""
        if self._queue or not self.may_repeat():
            return None
        peer = self._choice.pick_other(than)
        if peer is not None:
            self._budget.spend()
        return peer

    @property
    def is_waiting(self) -> bool:
        """Whether calls wait for a replica."""
        return bool(self._queue)

    def looked(self) -> None:
        """It was looked for replicas: calls for which there are none for long are given up."""
        now = self._loop.time()
        is_served = not self._queue or any(peer.works for peer in self.members.serving)
        if is_served or self._served_at is None:
            self._served_at = now
        elif now - self._served_at > self._patience:
            reason = self.members.last_failure
            self._fail_queue(no_replica(str(self.stub.id), self._patience, reason))

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
        await self.members.close()
        # What had not left is in the queue again.
        self._fail_queue(self._shut_down())
