"""A call on its way: from `.remote()` to the replica that takes it, and its outcome back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import aclosing
from typing import Protocol

from meshgen.errors import DeadlineError, MeshError, ReplicaLostError, UnavailableError
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime import codec, frames
from meshgen.runtime.peer import Peer, RefusedError
from meshgen.types import Call, DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb


class Dispatcher(Protocol):
    """Who finds a replica for a call."""

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: find another, or wait."""

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a call that no replica has."""


class Poster(Protocol):
    """Who does things on the mesh's loop."""

    def post(self, function: Callable[[], None]) -> None:
        """Do it there, from whichever thread."""


class PendingCall(Call, ABC):
    """One call of this process. All methods but `abandon` run on the mesh's loop."""

    def __init__(
        self, target: DeploymentID, method: str, context: RequestContext, poster: Poster
    ) -> None:
        self.target = target
        self.method = method
        self.context = context
        self._poster = poster
        # Once it is there: who finds a replica for it.
        self.dispatcher: Dispatcher | None = None
        self._peer: Peer | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch_deadline(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """End the call when its deadline passes."""
        self._timer = loop.call_at(deadline, self.expire)

    def _forget_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @abstractmethod
    def launch(self, peer: Peer) -> None:
        """Send the call to a replica."""

    @abstractmethod
    def fail(self, error: BaseException) -> None:
        """End the call with an error."""

    @abstractmethod
    def is_over(self) -> bool:
        """Whether the outcome is here."""

    def abandon(self) -> None:
        """Nobody waits any more; from any thread."""
        self._poster.post(self.cancel)

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._forget_deadline()
        if self._peer is None:
            if self.dispatcher is not None:
                self.dispatcher.forget(self)
        elif self._task is not None:
            self._task.cancel()

    def expire(self) -> None:
        """The deadline has passed."""
        if not self.is_over():
            self.cancel()
            self.fail(DeadlineError(f"{self.target} gave no result before the call's deadline"))

    def _again(self, peer: Peer) -> None:
        assert self.dispatcher is not None
        self.dispatcher.again(self, peer)

    def _launch_beside(self, peer: Peer) -> None:
        """Run `_carry` in a task of the peer's, counted as in flight there."""
        self._peer = peer
        peer.beside += 1
        self._task = peer.spawn(self._carry(peer))
        self._task.add_done_callback(lambda _: self._settle(peer))

    def _settle(self, peer: Peer) -> None:
        if self.is_over():
            self._forget_deadline()
        peer.beside -= 1
        peer.changed()
        if not self.is_over() and self._task is not None and self._task.cancelled():
            self.fail(ReplicaLostError(f"the connection to {self.target} was closed"))

    @abstractmethod
    async def _carry(self, peer: Peer) -> None:
        """Carry the call out beside the link."""

    async def _invocation(self, peer: Peer) -> pb.Invocation:
        """The call as it travels, its arguments uploaded first where they are large."""
        if not frames.is_large(self.arguments):
            return frames.invocation_message(self)
        return frames.invocation_message(self, await peer.upload(self.arguments))


class UnaryCall(PendingCall):
    """A call with one result, which goes over the link."""

    def __init__(
        self,
        target: DeploymentID,
        method: str,
        context: RequestContext,
        poster: Poster,
        reply: Reply,
    ) -> None:
        super().__init__(target, method, context, poster)
        self._reply = reply
        self._call_id = 0

    def launch(self, peer: Peer) -> None:
        """Queue a frame, after uploading the arguments where they are large."""
        if frames.is_large(self.arguments):
            self._launch_beside(peer)
            return
        self._peer = peer
        self._call_id = peer.session.request(self, self)

    async def _carry(self, peer: Peer) -> None:
        try:
            payload_id = await peer.upload(self.arguments)
        except MeshError:
            # The call itself never left: it may go elsewhere.
            self._peer, self._task = None, None
            self._again(peer)
            return
        self._task = None
        if not self._reply.done:
            self._call_id = peer.session.request(self, self, payload_id)

    def cancel(self) -> None:
        """Tell the replica, or stop what has not left."""
        self._forget_deadline()
        if self._peer is not None and self._call_id:
            self._peer.session.cancel(self._call_id)
        else:
            super().cancel()

    def answered(self, frame: pb.Frame) -> None:
        """The outcome came."""
        peer = self._peer
        assert peer is not None
        if self._timer is not None:
            self._timer.cancel()
        if peer.refusals:
            peer.welcome_again()
        if frame.kind == pb.FRAME_KIND_ERROR:
            self._reply.fail(codec.decode_failure(frame.failure))
        elif frame.payload.payload_id:
            peer.spawn(self._fetch(peer, frame.payload.payload_id))
        else:
            self._reply.resolve(frames.read_payload(frame.payload), codec.decode)

    async def _fetch(self, peer: Peer, payload_id: str) -> None:
        try:
            self._reply.resolve(await peer.fetch(payload_id), codec.decode)
        except MeshError as exc:
            self._reply.fail(exc)
        except asyncio.CancelledError:
            self.lost()
            raise

    def refused(self, frame: pb.Frame) -> None:
        """The replica is full or leaving."""
        peer, self._peer, self._call_id = self._peer, None, 0
        assert peer is not None
        self._again(peer)

    def unsent(self) -> None:
        """The connection ended before the call left."""
        self._peer, self._call_id = None, 0

    def lost(self) -> None:
        """The connection ended while the call was there."""
        self.fail(
            ReplicaLostError(
                f"the connection to {self.target} ended while it ran the call, "
                "which may have run in part or in full"
            )
        )

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._reply.fail(error)

    def is_over(self) -> bool:
        """Whether the outcome is here."""
        return self._reply.done


class StreamCall(PendingCall):
    """A call of a generator, which is an RPC of its own."""

    def __init__(
        self,
        target: DeploymentID,
        method: str,
        context: RequestContext,
        poster: Poster,
        items: ItemBuffer,
    ) -> None:
        super().__init__(target, method, context, poster)
        self._items = items

    def launch(self, peer: Peer) -> None:
        """Open the stream."""
        self._launch_beside(peer)

    async def _carry(self, peer: Peer) -> None:
        try:
            await self._read(peer)
        except RefusedError:
            self._peer, self._task = None, None
            if not self._items.ended:
                self._again(peer)
        except MeshError as exc:
            self._items.end(exc)

    async def _read(self, peer: Peer) -> None:
        async with aclosing(peer.stream(await self._invocation(peer))) as messages:
            async for message in messages:
                peer.welcome_again()
                if message.items:
                    items = [await self._payload(peer, item) for item in message.items]
                    self._items.put(items, codec.decode)
                    await self._items.drained()
                if message.HasField("failure"):
                    self._items.end(codec.decode_failure(message.failure))
                    return
        self._items.end()

    async def _payload(self, peer: Peer, item: pb.Payload) -> Payload:
        return await peer.fetch(item.payload_id) if item.payload_id else frames.read_payload(item)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._items.end(error)

    def is_over(self) -> bool:
        """Whether the stream has ended."""
        return self._items.ended


def no_replica(target: str, seconds: float, reason: str) -> UnavailableError:
    """What a caller is told when nobody could take its call."""
    return UnavailableError(
        f"no replica of {target} took calls for {seconds:g} s{f': {reason}' if reason else ''}"
    )
