"""A call of a generator."""

from __future__ import annotations

import asyncio

from meshgen.errors import MeshError, UnavailableError
from meshgen.items import ItemBuffer
from meshgen.runtime import codec, frames
from meshgen.runtime.callpartners import Home
from meshgen.runtime.calls import PendingCall
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR
from meshgen.runtime.streamfeed import feed
from meshgen.types import DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb


class StreamCall(PendingCall):
    """A call of a generator.

    The items that are ready first come over the link: a short stream ends with them. The rest comes
    by an RPC of its own, whose flow control lets a slow consumer hold back the producer.
    """

    stream = True
    # Whether another call was told where the items are, and may need them still.
    _handed_over = False

    def __init__(
        self,
        target: DeploymentID,
        method: str,
        context: RequestContext,
        home: Home,
        items: ItemBuffer,
    ) -> None:
        super().__init__(target, method, context, home)
        self._items = items

    def answered(self, frame: pb.Frame) -> None:
        """The first items came, or an error in their place."""
        peer = self._ran_at()
        if frame.stream_id or any(item.payload_id for item in frame.items):
            self._beside(peer, self._read(peer, frame))
            return
        if frame.kind == ERROR and self._sets_out_anew(frame.failure):
            return
        self._ended()
        if frame.kind == ERROR:
            self._items.end(codec.decode_failure(frame.failure))
        else:
            self._items.put([frames.read_payload(item) for item in frame.items], codec.decode)
            self._items.end()

    async def _read(self, peer: Peer, first: pb.Frame) -> None:
        if not await self._items.asked_for():
            if self._items.passed is not None:
                self._hand_over(peer, first)
            return
        try:
            await feed(self._items, peer, first.items, first.stream_id)
        except MeshError as exc:
            if isinstance(exc, UnavailableError):
                peer.wire_failures += 1
            self._items.end(exc)
            peer.session.cancel(self._call_id)

    def _hand_over(self, peer: Peer, first: pb.Frame) -> None:
        """Another call reads this stream: tell it where the rest is."""
        message = pb.PassedStream(
            owner=str(self.target), address=peer.address, stream_id=first.stream_id
        )
        message.items.extend(first.items)
        if self.context.deadline is not None:
            message.time_left_ms = frames.milliseconds_left(self.context.deadline)
        # The connection is needed until that call is over: with it goes what nobody has read.
        peer.held += 1
        self._handed_over = True
        self._items.hand_over(Payload(message.SerializeToString()))

    def cancel(self) -> None:
        """Tell the replica, or stop what has not left."""
        super().cancel()
        if self._handed_over:
            assert self._peer is not None
            self._handed_over = False
            self._peer.held -= 1
            if not self._peer.closed:
                # Soon: a collection of garbage, in the middle of anything, may have led here.
                asyncio.get_running_loop().call_soon(self._peer.changed)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        self._ended()
        self._items.end(error)

    def give_up(self) -> None:
        """The request that made this call was cancelled; from any thread."""
        self._items.cancel()

    def is_over(self) -> bool:
        """Whether the stream has ended."""
        return self._items.ended
