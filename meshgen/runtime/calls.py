"""A call on its way: from `.remote()` to the replica that takes it, and its outcome back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol

from meshgen.errors import DeadlineError, MeshError, ReplicaLostError, UnavailableError
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime import codec, frames
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR
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
    """One call of this process. All methods but `abandon` run on the mesh's loop.

    It leaves as a frame of the link, after its arguments were uploaded where they are large. What
    the answer needs beside the link is done by a task of the peer's, counted as in flight there.
    """

    # Once it is there: who finds a replica for it.
    dispatcher: Dispatcher | None = None
    # Until they are set on the instance: most calls never need most of them.
    _peer: Peer | None = None
    _call_id = 0
    _task: asyncio.Task[None] | None = None
    _timer: asyncio.TimerHandle | None = None

    def __init__(
        self, target: DeploymentID, method: str, context: RequestContext, poster: Poster
    ) -> None:
        self.target = target
        self.method = method
        self.context = context
        self._poster = poster

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

    def _forget_deadline(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def expire(self) -> None:
        """The deadline has passed."""
        if not self.is_over():
            self.cancel()
            self.fail(DeadlineError(f"{self.target} gave no result before the call's deadline"))

    def launch(self, peer: Peer) -> None:
        """Send the call to a replica."""
        self._peer = peer
        if frames.is_large(self.arguments):
            self._beside(peer, self._upload(peer))
        else:
            self._call_id = peer.session.request(self, self)

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
            self._call_id = peer.session.request(self, self, payload_id)

    def abandon(self) -> None:
        """Nobody waits any more; from any thread."""
        self._poster.post(self.cancel)

    def cancel(self) -> None:
        """Tell the replica, or stop what has not left."""
        self._forget_deadline()
        if self._peer is None:
            if self.dispatcher is not None:
                self.dispatcher.forget(self)
            return
        if self._task is not None:
            self._task.cancel()
        if self._call_id:
            self._peer.session.cancel(self._call_id)

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
        self.fail(
            ReplicaLostError(
                f"the connection to {self.target} ended while it ran the call, "
                "which may have run in part or in full"
            )
        )

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
                self._forget_deadline()
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


class UnaryCall(PendingCall):
    """A call with one result."""

    stream = False

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

    def answered(self, frame: pb.Frame) -> None:
        """The outcome came, or word of where to fetch it."""
        peer = self._ran_at()
        if frame.payload.payload_id:
            self._beside(peer, self._fetch(peer, frame.payload.payload_id))
            return
        self._forget_deadline()
        if frame.kind == ERROR:
            self._reply.fail(codec.decode_failure(frame.failure))
        else:
            self._reply.resolve(frames.read_payload(frame.payload), codec.decode)

    async def _fetch(self, peer: Peer, payload_id: str) -> None:
        try:
            self._reply.resolve(await peer.fetch(payload_id), codec.decode)
        except MeshError as exc:
            self._reply.fail(exc)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._forget_deadline()
        self._reply.fail(error)

    def is_over(self) -> bool:
        """Whether the outcome is here."""
        return self._reply.done


class StreamCall(PendingCall):
    """A call of a generator.

    The items that are ready first come over the link: a short stream ends with them. The rest comes
    by an RPC of its own, whose flow control lets a slow consumer hold back the producer.
    """

    stream = True

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

    def answered(self, frame: pb.Frame) -> None:
        """The first items came, or an error in their place."""
        peer = self._ran_at()
        if frame.stream_id or any(item.payload_id for item in frame.items):
            self._beside(peer, self._read(peer, frame))
            return
        self._forget_deadline()
        if frame.kind == ERROR:
            self._items.end(codec.decode_failure(frame.failure))
        else:
            self._items.put([frames.read_payload(item) for item in frame.items], codec.decode)
            self._items.end()

    async def _read(self, peer: Peer, first: pb.Frame) -> None:
        try:
            await self._pass_on(peer, first.items)
            if first.stream_id:
                await self._read_on(peer, first.stream_id)
        except MeshError as exc:
            self._items.end(exc)
            peer.session.cancel(self._call_id)
        else:
            self._items.end()

    async def _read_on(self, peer: Peer, stream_id: str) -> None:
        async with aclosing(peer.read_on(stream_id)) as messages:
            async for message in messages:
                if message.HasField("failure"):
                    self._items.end(codec.decode_failure(message.failure))
                    return
                await self._pass_on(peer, message.items)

    async def _pass_on(self, peer: Peer, items: Sequence[pb.Payload]) -> None:
        """Hand items over, and wait until they are taken before more are read."""
        payloads = [await self._payload(peer, item) for item in items]
        self._items.put(payloads, codec.decode)
        await self._items.drained()

    async def _payload(self, peer: Peer, item: pb.Payload) -> Payload:
        return await peer.fetch(item.payload_id) if item.payload_id else frames.read_payload(item)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._forget_deadline()
        self._items.end(error)

    def is_over(self) -> bool:
        """Whether the stream has ended."""
        return self._items.ended


def no_replica(target: str, seconds: float, reason: str) -> UnavailableError:
    """What a caller is told when nobody could take its call."""
    return UnavailableError(
        f"no replica of {target} took calls for {seconds:g} s{f': {reason}' if reason else ''}"
    )
