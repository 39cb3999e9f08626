"""A call on its way: from `.remote()` to the replica that takes it, and its outcome back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from meshgen.errors import (
    ActorDiedError,
    DeadlineError,
    MeshError,
    NotServingError,
    ReplicaLostError,
    UnavailableError,
)
from meshgen.objectref import Passed
from meshgen.runtime import codec, frames
from meshgen.runtime.callpartners import Dispatcher, Home, Line, Repeater
from meshgen.runtime.heldvalue import HeldValue, Lease, leases
from meshgen.runtime.peer import Peer
from meshgen.runtime.upstream import fetches, is_ready, remakeable, upstream_error
from meshgen.types import (
    Call,
    CallPolicy,
    DeploymentID,
    Place,
    RequestContext,
)
from meshgen.v1 import mesh_pb2 as pb


class PendingCall(Call, ABC):
    """One call of this process. All methods but `abandon` run on the mesh's loop.

    It leaves as a frame of the link, after its arguments were uploaded where they are large. What
    the answer needs beside the link is done by a task of the peer's, counted as in flight there.
    """

    typed = False
    # Once it is there: who finds a replica for it.
    dispatcher: Dispatcher | None = None
    # What may be done for it if it is lost or takes long, who does that, and how often it was sent.
    policy: CallPolicy | None = None
    repeater: Repeater | None = None
    attempts = 1
    # Where it must go, if only one replica can answer it, and its place in the order until it left.
    place: Place | None = None
    line: Line | None = None
    number = 0
    # Until they are set on the instance: most calls never need most of them.
    _peer: Peer | None = None
    _call_id = 0
    _task: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None
    # Responses that the arguments refer to and that have no replica yet.
    _unready = 0
    # The values that the replica was told to fetch.
    _fetches: Sequence[str] = ()
    # What it was told of stays there until the call has ended, wherever else it goes.
    _leases: Sequence[Lease] = ()

    def __init__(
        self, target: DeploymentID, method: str, context: RequestContext, home: Home
    ) -> None:
        self.target = target
        self.method = method
        self.context = context
        self.home = home

    @abstractmethod
    def answered(self, frame: pb.Frame) -> None:
        """The replica answered."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End the call with an error."""

    @abstractmethod
    def is_over(self) -> bool:
        """Whether the outcome is here."""

    def watch_deadline(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """End the call when its deadline passes."""
        if self._timer is None:
            self._timer = loop.call_at(deadline, self.expire)

    def _ended(self) -> None:
        """Neither its deadline nor its request has to end this call any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self.context.calls is not None:
            self.context.calls.discard(self)
        if self.line is not None:
            self.line.moved_on(self)

    def expire(self) -> None:
        """The deadline has passed."""
        if not self.is_over():
            # First: who waits for this call's outcome is to find it.
            waited = "" if self._peer else ": no replica had taken the call until then"
            what = f"{self.target} gave no result before the call's deadline{waited}"
            self.fail(DeadlineError(what))
            self.cancel()

    def set_out(self) -> None:
        """Go to the dispatcher, once all that the arguments refer to can go along.

        A value has to be made before: a small one is here then, a large one where it was made. A
        reference needs to know where its value will be.
        """
        unready = [each for each in self.arguments.references if not is_ready(each)]
        if unready:
            self._unready = len(unready)
            for each in unready:
                self._wait_for(each)
        elif not self._failed_upstream() and not self.is_over():
            assert self.dispatcher is not None
            self.dispatcher.submit(self)

    def _wait_for(self, passed: Passed) -> None:
        carrier = passed.reply.carrier
        if passed.by_value:
            passed.reply.when_settled(self._tell_ready_here)
        elif carrier is None:  # it has ended in this moment, in another thread
            self._tell_ready_here()
        else:
            try:
                carrier.keep(self._tell_ready_here)
            except NotServingError as exc:  # a response of another mesh, which is gone
                self.fail(exc)

    def _tell_ready_here(self) -> None:
        """From whichever thread; a response of another mesh brings word on that one's."""
        with suppress(NotServingError):  # this mesh is gone: that must not hurt the other
            self.home.post(self._one_is_ready)

    def _one_is_ready(self) -> None:
        self._unready -= 1
        if self.is_over():
            return
        if self._unready:
            self._failed_upstream()  # then the others do not matter
        else:
            self.set_out()

    def _failed_upstream(self) -> bool:
        """Whether a value that this call needs has failed, and the call with it."""
        error = upstream_error(self.arguments.references, self.target)
        if error is not None:
            self.fail(error)
        return error is not None

    def launch(self, peer: Peer) -> None:
        """Send the call to a replica."""
        if self.arguments.references:
            if self._failed_upstream():
                return
            if not all(map(is_ready, self.arguments.references)):
                self.set_out()
                return
            self._fetches = fetches(self.arguments.references)
            self._leases = leases(self.arguments.references)
            for each in self._leases:
                each.told.add(peer)
        self._peer = peer
        if frames.is_large(self.arguments):
            self._beside(peer, self._upload(peer))
        else:
            self._leave(peer)

    def _leave(self, peer: Peer, payload_id: str = "") -> None:
        self._call_id = peer.session.request(self, self, payload_id)
        if self._fetches:
            # It takes no slot there before it has its values.
            peer.session.waiting.add(self._call_id)
        if self.line is not None:
            self.line.moved_on(self)

    def _sets_out_anew(self, failure: pb.Failure) -> bool:
        """Whether a value was not where the call said, and has moved or is made again: then the
        call, which was not started, asks again."""
        if failure.kind != pb.FAILURE_KIND_LOST or not self._fetches:
            return False
        references = self.arguments.references
        if not all(map(is_ready, references)) or fetches(references) != self._fetches:
            self.unsent()
            self.set_out()
            return True
        values = remakeable(references)
        if values:
            self.unsent()
            self.home.holds.spawn(self._remake(values, failure))
        return bool(values)

    async def _remake(self, values: Sequence[HeldValue], failure: pb.Failure) -> None:
        """Have values made again that were lost with their replicas."""
        made = await self.home.holds.remake_lost(values)
        if self.is_over():
            return
        if made:
            self.set_out()
        else:
            self.fail(codec.decode_failure(failure))

    async def _upload(self, peer: Peer) -> None:
        try:
            payload_id = await peer.upload(self.arguments)
        except UnavailableError:
            # The call itself never left: it may go elsewhere.
            peer.wire_failures += 1
            self._again(peer)
            return
        except MeshError as exc:
            self.fail(exc)
            return
        except asyncio.CancelledError:
            if not self.is_over():  # the link was lost meanwhile
                self._again(peer)
            raise
        peer.wire_failures = 0
        if self.is_over():
            return
        if peer.closed:
            self._again(peer)
        elif not all(map(is_ready, self.arguments.references)):
            # What it refers to is to be made elsewhere, as became known meanwhile.
            self.unsent()
            self.set_out()
        else:
            self._leave(peer, payload_id)

    @abstractmethod
    def give_up(self) -> None:
        """The request that made this call was cancelled; from any thread."""

    def abandon(self) -> None:
        """Nobody waits any more; from any thread."""
        self.home.post(self.cancel)

    def cancel(self) -> None:
        """Tell the replica, or stop what has not left."""
        self._ended()
        if self._peer is None:
            if self.dispatcher is not None:
                self.dispatcher.forget(self)
                # Streams among the arguments have lost the one who would have read them.
                self.arguments.references = ()
            return
        if self._task is not None:
            self._task.cancel()
        if self._call_id:
            self._peer.session.cancel(self._call_id)

    def retained(self) -> None:
        """The replica is going to keep the outcome, as it was asked to."""

    def refused(self, frame: pb.Frame) -> None:
        """The replica is full or leaving."""
        assert self._peer is not None
        self._again(self._peer)

    def _again(self, peer: Peer) -> None:
        self.unsent()
        assert self.dispatcher is not None
        self.dispatcher.again(self, peer)

    def unsent(self) -> None:
        """The call has not left after all."""
        self._peer, self._call_id = None, 0

    def lost(self) -> None:
        """The connection ended while the call was there."""
        what = (
            f"the connection to {self.target} ended while it ran the call, "
            "which may have run in part or in full"
        )
        if self.place is None:
            self.fail(ReplicaLostError(what))
        else:
            self.fail(ActorDiedError(f"{self.place.resident} is lost: {what}"))

    def _ran_at(self) -> Peer:
        """The peer that has answered: it is not full any more."""
        peer = self._peer
        assert peer is not None
        peer.answers += 1
        if peer.refusals:
            peer.welcome_again()
        return peer

    def _beside(self, peer: Peer, work: Coroutine[Any, Any, None]) -> None:
        """Do work in a task of the peer's, in flight there until it ends."""
        peer.beside += 1
        self._task = peer.spawn(work)
        self._task.add_done_callback(partial(self._settle, peer))

    def _settle(self, peer: Peer, task: asyncio.Task[None]) -> None:
        peer.beside -= 1
        if self._task is task:  # not one that another peer was given in the meantime
            self._task = None
            if self.is_over():
                self._ended()
            else:
                self._settle_early(task)
        peer.changed()

    def _settle_early(self, task: asyncio.Task[None]) -> None:
        """What was done beside the link ended without an outcome."""
        if task.cancelled():
            if self._peer is not None:
                self.lost()
        elif (error := task.exception()) is not None:
            self.fail(error)


def no_replica(target: str, seconds: float, reason: str) -> UnavailableError:
    """What a caller is told when nobody could take its call."""
    return UnavailableError(
        f"no replica of {target} took calls for {seconds:g} s{f': {reason}' if reason else ''}"
    )
