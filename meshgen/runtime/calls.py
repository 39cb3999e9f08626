"""A call on its way: from `.remote()` to the replica that takes it, and its outcome back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from meshgen.errors import (
    ActorDiedError,
    DeadlineError,
    MeshError,
    NotServingError,
    ObjectLostError,
    ReplicaLostError,
    UnavailableError,
)
from meshgen.objectref import Passed
from meshgen.reply import wake_on
from meshgen.runtime import frames
from meshgen.runtime.heldvalue import Lease, leases
from meshgen.runtime.holds import Holds
from meshgen.runtime.peer import Peer
from meshgen.types import (
    Call,
    DeploymentID,
    Place,
    RequestContext,
)
from meshgen.v1 import mesh_pb2 as pb


class Dispatcher(Protocol):
    """Who finds a replica for a call."""

    def submit(self, call: PendingCall) -> None:
        """Find one."""

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: find another, or wait."""

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a call that no replica has."""


class Line(Protocol):
    """Where a call waits for those before it."""

    def moved_on(self, call: PendingCall) -> None:
        """It has left, or has ended."""


class Home(Protocol):
    """The process's caller, as its calls see it."""

    holds: Holds

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop, from whichever thread."""


class PendingCall(Call, ABC):
    """One call of this process. All methods but `abandon` run on the mesh's loop.

    It leaves as a frame of the link, after its arguments were uploaded where they are large. What
    the answer needs beside the link is done by a task of the peer's, counted as in flight there.
    """

    # Once it is there: who finds a replica for it.
    dispatcher: Dispatcher | None = None
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
        self._home = home

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
            self.fail(DeadlineError(f"{self.target} gave no result before the call's deadline"))
            self.cancel()

    def set_out(self) -> None:
        """Go to the dispatcher, once all that the arguments refer to can go along.

        A value has to be made before: a small one is here then, a large one where it was made. A
        reference needs to know where its value will be.
        """
        unready = [each for each in self.arguments.references if not _is_ready(each)]
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
            self._home.post(self._one_is_ready)

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
        for each in self.arguments.references:
            if each.by_value and (error := each.reply.error) is not None:
                if isinstance(error, ReplicaLostError):
                    error = ObjectLostError(f"{self.target} was not called: {error}")
                self.fail(error)
                return True
        return False

    def launch(self, peer: Peer) -> None:
        """Send the call to a replica."""
        if self.arguments.references:
            if self._failed_upstream():
                return
            if not all(map(_is_ready, self.arguments.references)):
                self.set_out()
                return
            self._fetches = fetches(self.arguments.references)
            self._leases = leases(self.arguments.references)
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
        """Whether a value was not where the call said, since it has moved: then it asks again."""
        if failure.kind != pb.FAILURE_KIND_LOST or not self._fetches:
            return False
        references = self.arguments.references
        if all(map(_is_ready, references)) and fetches(references) == self._fetches:
            return False
        self.unsent()
        self.set_out()
        return True

    async def _upload(self, peer: Peer) -> None:
        try:
            payload_id = await peer.upload(self.arguments)
        except UnavailableError:
            # The call itself never left: it may go elsewhere.
            self._again(peer)
            return
        except MeshError as exc:
            self.fail(exc)
            return
        except asyncio.CancelledError:
            if not self.is_over():  # the link was lost meanwhile
                self._again(peer)
            raise
        if self.is_over():
            return
        if peer.closed:
            self._again(peer)
        else:
            self._leave(peer, payload_id)

    @abstractmethod
    def give_up(self) -> None:
        """The request that made this call was cancelled; from any thread."""

    def abandon(self) -> None:
        """Nobody waits any more; from any thread."""
        self._home.post(self.cancel)

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
        peer.answered = True
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


def _is_ready(passed: Passed) -> bool:
    """Whether it can go along with a call at this moment."""
    return passed.reply.settled if passed.by_value else passed.reply.passable


def fetches(references: Sequence[Passed]) -> list[str]:
    """The ids of the values that a call waits for at its replica."""
    tokens = [each.reply.token for each in references if each.by_value]
    return [token.value_id for token in tokens if token is not None]


async def passable(references: Sequence[Passed]) -> None:
    """Wait until each response that is passed on has a replica or has ended."""
    for each in references:
        carrier = each.reply.carrier
        if not each.reply.passable and carrier is not None:
            await wake_on(carrier.keep)


def no_replica(target: str, seconds: float, reason: str) -> UnavailableError:
    """What a caller is told when nobody could take its call."""
    return UnavailableError(
        f"no replica of {target} took calls for {seconds:g} s{f': {reason}' if reason else ''}"
    )
