"""A call with one result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import ref

from meshgen.passedstream import PassedStream
from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.budget import MOST_ATTEMPTS
from meshgen.runtime.callpartners import Home
from meshgen.runtime.calls import PendingCall
from meshgen.runtime.hedging import Hedge
from meshgen.runtime.heldvalue import HeldValue, lent
from meshgen.runtime.peer import Peer
from meshgen.runtime.recipe import recipe_of
from meshgen.runtime.session import ERROR
from meshgen.types import DeploymentID, Payload, RequestContext, Token, new_value_id
from meshgen.v1 import mesh_pb2 as pb


class UnaryCall(PendingCall):
    """A call with one result."""

    stream = False
    # Whether the outcome is wanted by others too, and who waits until it has a replica.
    _wanted = False
    _on_ready: Sequence[Callable[[], None]] = ()
    _kept: HeldValue | None = None
    _hedge: Hedge | None = None

    def __init__(
        self,
        target: DeploymentID,
        method: str,
        context: RequestContext,
        home: Home,
        reply: Reply,
    ) -> None:
        super().__init__(target, method, context, home)
        self._reply = reply

    def keep(self, ready: Callable[[], None]) -> None:
        """Have the outcome kept at its replica; calls back once it has one. From any thread."""
        self.home.post(self._keep, ready)

    def _keep(self, ready: Callable[[], None]) -> None:
        self._wanted = True
        self._on_ready = (*self._on_ready, ready)
        if self._hedge is not None:
            # Others are told of one replica's outcome: it is that one's that counts.
            self._hedge.give_way()
        if self._reply.passable:
            self._tell_ready()
        elif self._call_id and self._kept is None:
            self._retain()

    def _tell_ready(self) -> None:
        waiting, self._on_ready = self._on_ready, ()
        for callback in waiting:
            callback()

    def _leave(self, peer: Peer, payload_id: str = "") -> None:
        super()._leave(peer, payload_id)
        if self._wanted:
            self._retain()
        elif self.policy is not None and self.policy.hedge_after_s is not None:
            self._hedge = self._hedge or Hedge(self)
            self._hedge.start(peer, self.policy.hedge_after_s)

    def _stop_hedge(self) -> None:
        if self._hedge is not None:
            hedge, self._hedge = self._hedge, None
            hedge.stop()

    def _retain(self) -> None:
        assert self._peer is not None
        token = Token(self.target, self._peer.address, new_value_id())
        self._peer.session.retain(self._call_id, token.value_id)
        self._kept = self.home.holds.retained(token, self._peer)

    def retained(self) -> None:
        """The replica is going to keep the outcome: from here on others may be told where."""
        self._reply.kept = self._kept
        self._tell_ready()

    def unsent(self) -> None:
        """The call has not left after all."""
        super().unsent()
        # What was to be kept there never will be.
        self._reply.kept = self._kept = None
        if self._hedge is not None:
            self._hedge.wait_no_longer()

    def lost(self) -> None:
        """The connection ended while the call was there: it is sent again, if that may be."""
        if self._hedge is not None and self._hedge.goes_on():
            self.unsent()
        elif self.is_repeatable() and self.repeater is not None:
            self.attempts += 1
            self.unsent()
            self.repeater.repeat(self)
        else:
            super().lost()

    def is_repeatable(self) -> bool:
        """Whether it may be sent again though it may have run."""
        if self.repeater is None or self.attempts >= MOST_ATTEMPTS:
            return False
        return not self.has_streams() and self.repeater.may_repeat()

    def has_streams(self) -> bool:
        """Whether there are streams among its arguments: those can be read once only."""
        return any(isinstance(each.reply, PassedStream) for each in self.arguments.references)

    def cancel(self) -> None:
        """Tell the replica, or stop what has not left."""
        super().cancel()
        self._stop_hedge()
        self._tell_ready()

    def answered(self, frame: pb.Frame) -> None:
        """The outcome came, or word of where to fetch it."""
        peer = self._ran_at()
        if frame.kind != ERROR or not self._sets_out_anew(frame.failure):
            self.conclude(peer, self._call_id, frame)

    def conclude(self, peer: Peer, call_id: int, frame: pb.Frame) -> None:
        """This is the outcome: of this call, or of a second copy of it, as which peer knows it."""
        self._ended()
        if self._hedge is not None:
            self._stop_hedge()
        if frame.kind == ERROR:
            if self._kept is not None:  # those who were told of the value have leases of their own
                self._kept.come_home(None, frame.failure)
            self._reply.fail(codec.decode_failure(frame.failure))
        else:
            self._take(peer, call_id, frame)
        if self._on_ready:
            self._tell_ready()

    def _take(self, peer: Peer, call_id: int, frame: pb.Frame) -> None:
        message = frame.payload
        if message.payload_id:
            self._leave_there(peer, frame)
            return
        if message.has_more:
            payload = self.home.holds.read(message)
            if payload.references:
                held = lent(payload.references)
                peer.spawn(self._take_over(peer, call_id, held))
        else:
            payload = Payload(message.pickle)
        if self._kept is not None:
            self._kept.recipe = recipe_of(self)
        self._reply.resolve(payload, codec.decode)

    def _leave_there(self, peer: Peer, frame: pb.Frame) -> None:
        """It is large: it stays with the replica until somebody here wants it."""
        value_id = frame.payload.payload_id
        kept = self._kept
        if kept is None or kept.token.value_id != value_id:  # it left before it was to be kept
            kept = self.home.holds.retained(Token(self.target, peer.address, value_id), peer)
        kept.is_plain = not frame.payload.references
        kept.recipe = recipe_of(self)
        self._reply.leave_at(kept)

    async def _take_over(self, peer: Peer, call_id: int, values: Sequence[ref[HeldValue]]) -> None:
        """Hold what the result refers to, and tell the replica once that is done."""
        await self.home.holds.hold(values)
        peer.session.cancel(call_id)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._ended()
        self._stop_hedge()
        self._reply.fail(error)
        self._tell_ready()

    def give_up(self) -> None:
        """The request that made this call was cancelled; from any thread."""
        self._reply.cancel()

    def is_over(self) -> bool:
        """Whether the outcome is here, or was left where it was made."""
        return self._reply.settled
