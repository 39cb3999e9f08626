"""A second copy of a call that takes long, at another replica: the first outcome counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from meshgen.runtime.calls import PendingCall
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR
from meshgen.runtime.upstream import is_ready
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.unarycall import UnaryCall

# Errors that say nothing of the call: it was not started there.
_NOT_STARTED = frozenset((pb.FAILURE_KIND_UNAVAILABLE, pb.FAILURE_KIND_LOST))


class Hedge:
    """Sends a copy of a call when its time is over, and ends what is not needed any more."""

    def __init__(self, call: UnaryCall) -> None:
        self._call = call
        self._timer: asyncio.TimerHandle | None = None
        self._copy: SecondCopy | None = None
        # Whether the call itself has been lost, so that the copy is all there is.
        self._is_alone = False

    def start(self, peer: Peer, seconds: float) -> None:
        """The call has left for a replica."""
        self._is_alone = False
        self.wait_no_longer()
        self._wait(peer, seconds)

    def _wait(self, peer: Peer, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._send_copy, peer, seconds)

    def wait_no_longer(self) -> None:
        """The call is not where it was: no copy is sent for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def stop(self) -> None:
        """There is an outcome, or nobody needs one."""
        self.wait_no_longer()
        if self._copy is not None:
            copy, self._copy = self._copy, None
            copy.cancel()

    def give_way(self) -> None:
        """The call's own outcome is wanted, unless the copy is all there is."""
        if not self._is_alone:
            self.stop()

    def goes_on(self) -> bool:
        """The call is lost: whether a copy may still bring the outcome."""
        self._is_alone = self._copy is not None
        return self._is_alone

    def _send_copy(self, first: Peer, seconds: float) -> None:
        call, repeater = self._call, self._call.repeater
        if repeater is None or self._copy is not None or not call.is_repeatable():
            return
        if not all(map(is_ready, call.arguments.references)):
            return
        peer = repeater.second(first)
        if peer is None:
            # Others may have room, or be there, by then.
            self._wait(first, seconds)
        else:
            self._copy = SecondCopy(call, self)
            self._copy.launch(peer)

    def failed(self) -> None:
        """The copy brings no outcome."""
        self._copy = None
        if self._is_alone:
            self._is_alone = False
            self._call.lost()

    def won(self, peer: Peer, call_id: int, frame: pb.Frame) -> None:
        """The copy has the outcome: the call itself is not needed any more."""
        self._copy = None
        self._call.conclude(peer, call_id, frame)
        self._call.cancel()


class SecondCopy(PendingCall):
    """The copy. It ends without a word where it brings no outcome."""

    stream = False

    def __init__(self, call: UnaryCall, hedge: Hedge) -> None:
        super().__init__(call.target, call.method, call.context, call.home)
        self.arguments, self.typed = call.arguments, call.typed
        self._hedge: Hedge | None = hedge

    def answered(self, frame: pb.Frame) -> None:
        """The replica answered."""
        peer = self._ran_at()
        if frame.kind == ERROR and frame.failure.kind in _NOT_STARTED:
            self._fails()
        elif self._hedge is not None:
            hedge, self._hedge = self._hedge, None
            hedge.won(peer, self._call_id, frame)

    def _fails(self) -> None:
        if self._hedge is not None:
            hedge, self._hedge = self._hedge, None
            hedge.failed()

    def fail(self, error: BaseException) -> None:
        """It could not be sent."""
        self._fails()

    def lost(self) -> None:
        """The connection ended while it was there."""
        self._fails()

    def unsent(self) -> None:
        """It has not left after all; once is enough."""
        super().unsent()
        self._fails()

    def refused(self, frame: pb.Frame) -> None:
        """The replica is full or leaving."""
        self._fails()

    def _again(self, peer: Peer) -> None:
        self._fails()

    def cancel(self) -> None:
        """It is not needed any more."""
        self._hedge = None
        super().cancel()

    def give_up(self) -> None:
        """It ends with its call."""

    def is_over(self) -> bool:
        """Whether it has brought what it could."""
        return self._hedge is None
