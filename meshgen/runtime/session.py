"""The protocol of a link as state, without I/O: one class for each end.

The caller's end, for each call (h2's way: what is not in the table is an error):

    state      REQUEST   CANCEL     RESPONSE/ERROR   BUSY           link lost
    -          → OPEN    -          ProtocolError    ProtocolError  -
    OPEN       -         → LEFT     answered → -     refused → -    lost → -
    LEFT       -         stays      → -              → -            → -

`LEFT` is a call that nobody waits for while the replica still runs it: it counts as in flight.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from meshgen.errors import ProtocolError
from meshgen.runtime.frames import PROTOCOL_VERSION
from meshgen.types import DeploymentID
from meshgen.v1 import mesh_pb2 as pb

# A message stops growing at about this size, so that a batch of big frames stays a small message.
BATCH_BYTES = 512 * 1024

M = TypeVar("M", pb.LinkRequest, pb.LinkResponse)


class Outbox(Generic[M]):
    """Frames that wait to be written. All that is queued leaves as one message."""

    def __init__(self, message: type[M]) -> None:
        self._message = message
        self._frames: deque[pb.Frame] = deque()
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def put(self, frame: pb.Frame) -> None:
        """Queue a frame."""
        self._frames.append(frame)
        self._wake()

    def close(self) -> None:
        """No frame will follow: what is queued is the end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> M | None:
        """All that is queued as one message, up to `BATCH_BYTES`; None if nothing is."""
        frames = self._frames
        if not frames:
            return None
        if len(frames) == 1:
            return self._message(frames=(frames.popleft(),))
        batch, size = [], 0
        while frames and size < BATCH_BYTES:
            frame = frames.popleft()
            batch.append(frame)
            size += frame.ByteSize()
        return self._message(frames=batch)

    def take_unsent(self) -> list[pb.Frame]:
        """Remove and return the frames that never left."""
        unsent = list(self._frames)
        self._frames.clear()
        return unsent

    async def next(self) -> M | None:
        """The next message to write; None once closed and empty."""
        while True:
            message = self.take()
            if message is not None or self._closed:
                return message
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


class Awaited(Protocol):
    """A call as its caller's session sees it."""

    def answered(self, frame: pb.Frame) -> None:
        """The replica answered with a RESPONSE or an ERROR."""

    def refused(self, frame: pb.Frame) -> None:
        """The replica did not start the call: it may go elsewhere."""


class CallerSession:
    """The caller's end of a link."""

    def __init__(self) -> None:
        self.outbox: Outbox[pb.LinkRequest] = Outbox(pb.LinkRequest)
        self.state = pb.State()
        # None stands for a call that was left.
        self._calls: dict[int, Awaited | None] = {}
        self._next_id = 1

    @property
    def in_flight(self) -> int:
        """Calls that the replica has not answered."""
        return len(self._calls)

    def hello(self, deployment: DeploymentID, caller: str) -> None:
        """Say who calls whom; the first frame of a link."""
        hello = pb.Hello(protocol=PROTOCOL_VERSION, deployment=str(deployment), caller=caller)
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello))

    def request(self, invocation: pb.Invocation, awaited: Awaited) -> int:
        """Queue a call and return its id."""
        call_id = self._next_id
        self._next_id += 1
        self._calls[call_id] = awaited
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=call_id, invocation=invocation))
        return call_id

    def cancel(self, call_id: int) -> None:
        """Nobody waits for a call any more; harmless if it is answered already."""
        if self._calls.get(call_id) is not None:
            self._calls[call_id] = None
            self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_CANCEL, id=call_id))

    def receive(self, frames: Iterable[pb.Frame]) -> bool:
        """Take in frames of the replica; whether its state changed.

        Raises:
            ProtocolError: A frame is not in the table.
        """
        state_changed = False
        for frame in frames:
            kind = frame.kind
            if kind in (pb.FRAME_KIND_RESPONSE, pb.FRAME_KIND_ERROR):
                awaited = self._end(frame.id)
                if awaited is not None:
                    awaited.answered(frame)
            elif kind == pb.FRAME_KIND_BUSY:
                awaited = self._end(frame.id)
                if awaited is not None:
                    awaited.refused(frame)
            elif kind == pb.FRAME_KIND_STATE:
                self.state = frame.state
                state_changed = True
            elif kind == pb.FRAME_KIND_PING:
                self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_PONG, id=frame.id))
            elif kind != pb.FRAME_KIND_PONG:
                raise ProtocolError(f"a replica sent a frame of kind {frame.kind}")
        return state_changed

    def _end(self, call_id: int) -> Awaited | None:
        try:
            return self._calls.pop(call_id)
        except KeyError:
            raise ProtocolError(f"a replica answered call {call_id}, which is not open") from None

    def lost(self) -> tuple[list[Awaited], list[Awaited]]:
        """End the session: the calls that never left, and those that may have run."""
        unsent = {
            frame.id for frame in self.outbox.take_unsent() if frame.kind == pb.FRAME_KIND_REQUEST
        }
        calls, self._calls = self._calls, {}
        waiting = [(call_id, call) for call_id, call in calls.items() if call is not None]
        return (
            [call for call_id, call in waiting if call_id in unsent],
            [call for call_id, call in waiting if call_id not in unsent],
        )


class ReplicaEvents(Protocol):
    """What a replica does about what a caller sends."""

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """A call came."""

    def left(self, call_id: int) -> None:
        """Nobody waits for a call any more."""


class ReplicaSession:
    """The replica's end of a link."""

    def __init__(self, deployment: DeploymentID, events: ReplicaEvents) -> None:
        self.outbox: Outbox[pb.LinkResponse] = Outbox(pb.LinkResponse)
        self.caller = ""
        self._deployment = deployment
        self._events = events

    def receive(self, frames: Iterable[pb.Frame]) -> None:
        """Take in frames of the caller.

        Raises:
            ProtocolError: A frame is not in the table, or the caller speaks another protocol.
        """
        for frame in frames:
            kind = frame.kind
            if kind == pb.FRAME_KIND_REQUEST:
                self._events.requested(frame.id, frame.invocation)
            elif kind == pb.FRAME_KIND_CANCEL:
                self._events.left(frame.id)
            elif kind == pb.FRAME_KIND_PING:
                self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_PONG, id=frame.id))
            elif kind == pb.FRAME_KIND_HELLO:
                self._greet(frame.hello)
            elif kind != pb.FRAME_KIND_PONG:
                raise ProtocolError(f"a caller sent a frame of kind {kind}")

    def _greet(self, hello: pb.Hello) -> None:
        if hello.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"{hello.caller} speaks version {hello.protocol} of the mesh protocol, "
                f"{self._deployment} speaks {PROTOCOL_VERSION}: build both with one meshgen"
            )
        if hello.deployment != str(self._deployment):
            raise ProtocolError(
                f"{hello.caller} means to call {hello.deployment}, but this is {self._deployment}"
            )
        self.caller = hello.caller

    def announce(self, state: pb.State) -> None:
        """Tell the caller the replica's state."""
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_STATE, state=state))

    def respond(self, call_id: int, payload: pb.Payload) -> None:
        """Answer a call with its result."""
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_RESPONSE, id=call_id, payload=payload))

    def fail(self, call_id: int, failure: pb.Failure) -> None:
        """Answer a call with its error."""
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_ERROR, id=call_id, failure=failure))

    def refuse(self, call_id: int) -> None:
        """Send a call away before it started."""
        self.outbox.put(pb.Frame(kind=pb.FRAME_KIND_BUSY, id=call_id))
