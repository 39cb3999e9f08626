"""A stream that a call of this process was passed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from meshgen.errors import DeadlineError, MeshError, ReplicaLostError
from meshgen.items import ItemBuffer
from meshgen.objectref import Passed
from meshgen.reply import Reply
from meshgen.runtime import codec, frames
from meshgen.runtime.streamfeed import feed
from meshgen.serve.context import current_replica, current_request
from meshgen.serve.response import DeploymentResponseGenerator
from meshgen.types import DeploymentID, Payload, Token
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.holds import Holds


class ArrivedStream(Reply):
    """Stands for a stream among arguments that arrived: its value is the iterator of its items.

    Nothing is read before the first item is asked for: until then it can be passed on.
    """

    def __init__(self, message: pb.PassedStream, holds: Holds) -> None:
        super().__init__()
        self._message = message
        self._holds = holds
        self._items: ItemBuffer | None = None
        self.resolve(Payload(b""), codec.decode)  # here, as far as the call has to wait

    def value(self) -> Any:
        """An iterator, which this does not hold: it stops the producer when nobody does."""
        request = current_request.get()
        stream: DeploymentResponseGenerator[Any]
        stream = DeploymentResponseGenerator(request.request_id if request is not None else "")
        self._items = stream.items
        self._holds.post(self._start, stream.items)
        return stream

    def _start(self, items: ItemBuffer) -> None:
        task = self._holds.spawn(self._feed(items))
        items.on_cancel = partial(self._holds.post, partial(_stop, task))

    async def _feed(self, items: ItemBuffer) -> None:
        left = self._message.time_left_ms / 1000 if self._message.time_left_ms else None
        try:
            async with asyncio.timeout(left):
                if await items.asked_for():
                    await self._read(items)
                else:
                    items.hand_over(Payload(self._message.SerializeToString()))
        except MeshError as exc:
            items.end(self._lost(str(exc)))
        except TimeoutError:
            items.end(DeadlineError(f"the stream of {self._owner} did not end before its deadline"))
        except asyncio.CancelledError:
            items.end(self._lost("the connection was closed"))
            raise

    async def _read(self, items: ItemBuffer) -> None:
        message = self._message
        if not message.owner:
            items.put([frames.read_payload(each) for each in message.items], codec.decode)
            items.end(self._failure())
            return
        owner = DeploymentID(*message.owner.split("/", 1))
        peer = self._holds.peer_at(Token(owner, message.address, message.stream_id))
        # In flight there until it ends: the connection is needed.
        peer.beside += 1
        try:
            await feed(items, peer, message.items, message.stream_id)
        finally:
            peer.beside -= 1
            peer.changed()

    def _failure(self) -> BaseException | None:
        if not self._message.HasField("failure"):
            return None
        error = codec.decode_failure(self._message.failure)
        return self._lost(str(error)) if isinstance(error, ReplicaLostError) else error

    def end(self) -> None:
        """The call that it was passed to has ended."""
        if self._items is not None:
            self._items.drop()

    @property
    def _owner(self) -> str:
        if not self._message.owner:
            return "a deployment"
        return f"{self._message.owner} at {self._message.address}"

    def _lost(self, why: str) -> ReplicaLostError:
        reader = current_replica.get()
        name = "a call" if reader is None else f"{reader.app_name}/{reader.deployment}"
        return ReplicaLostError(f"the stream of {self._owner} that {name} reads is lost: {why}")


def _stop(task: asyncio.Task[None]) -> None:
    task.cancel()


def end_streams(references: Iterable[Passed]) -> None:
    """A call has ended: what it still reads of the streams it was passed, it needs no more."""
    for each in references:
        if isinstance(each.reply, ArrivedStream):
            each.reply.end()
