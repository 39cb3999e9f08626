"""The protocol of a link as state, without I/O: one class for each end.

The caller's end, for each call (h2's way: what is not in the table is an error):

    state      REQUEST   CANCEL     RESPONSE/ERROR   BUSY           link lost
    -          → OPEN    told       ProtocolError    ProtocolError  -
    OPEN       -         → LEFT     answered → -     refused → -    lost → -
    LEFT       -         stays      → -              → -            → -

`LEFT` is a call that nobody waits for while the replica still runs it: it counts as in flight.
A replica that has answered is told of a CANCEL too: it may keep what the answer said to come for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Generic, Protocol, TypeVar

from meshgen.errors import ProtocolError
from meshgen.runtime.frames import PROTOCOL_VERSION, write_invocation, write_payload
from meshgen.types import Call, DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb

# A message stops growing at about this size, so that a batch of big frames stays a small message.
BATCH_BYTES = 512 * 1024

# Looked up once: the generated module finds its enum values anew at each access.
REQUEST = pb.FRAME_KIND_REQUEST
RESPONSE = pb.FRAME_KIND_RESPONSE
ERROR = pb.FRAME_KIND_ERROR

M = TypeVar("M", pb.LinkRequest, pb.LinkResponse)


class Outbox(Generic[M]):
    """Frames that wait to be written. All that is queued leaves as one message."""

    def __init__(self, message: type[M]) -> None:
        self._type: type[M] = message
        self._full: deque[M] = deque()
        self._open: M = message()
        self._frames = self._open.frames
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def add(self, size: int = 0) -> pb.Frame:
        """A new frame at the end of the queue, of about `size` bytes, to be filled in at once.

        Built in place: making a frame by itself and adding it costs twice as much.
        """
        if self._bytes >= BATCH_BYTES:
            self._full.append(self._open)
            self._renew()
        self._bytes += size
        self._wake()
        return self._frames.add()

    def _renew(self) -> None:
        self._open = self._type()
        self._frames = self._open.frames
        self._bytes = 0

    def close(self) -> None:
        """No frame will follow: what is queued is the end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None

    def take(self) -> M | None:
        """All that is queued as one message, of about `BATCH_BYTES` at most; None if nothing is."""
        if self._full:
            return self._full.popleft()
        if not self._frames:
            return None
        message = self._open
        self._renew()
        return message

    async def next(self) -> M | None:
        """The next message to write; None once closed and empty."""
        while True:
            message = self.take()
            if message is not None or self._closed:
                return message
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


async def after_what_follows(frames: Sequence[pb.Frame]) -> None:
    """Let what a lone frame set off come before asking gRPC for the next message.

    Asking costs as much as a small call. So that comes after the task that the frame woke (one turn
    of the loop) and the write of what it queued (another). Many frames are a sign of many callers,
    who gain more by the next message.
    """
    if len(frames) == 1:
        await asyncio.sleep(0)
        await asyncio.sleep(0)


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
        self.calls: dict[int, Awaited | None] = {}
        self._next_id = 1

    @property
    def in_flight(self) -> int:
        """Calls that the replica has not answered."""
        return len(self.calls)

    def hello(self, deployment: DeploymentID, caller: str) -> None:
        """Say who calls whom; the first frame of a link."""
        frame = self.outbox.add()
        frame.kind = pb.FRAME_KIND_HELLO
        frame.hello.protocol = PROTOCOL_VERSION
        frame.hello.deployment = str(deployment)
        frame.hello.caller = caller

    def request(self, call: Call, awaited: Awaited, payload_id: str = "") -> int:
        """Queue a call and return its id; its arguments were uploaded if there is a payload id."""
        call_id = self._next_id
        self._next_id += 1
        self.calls[call_id] = awaited
        frame = self.outbox.add(0 if payload_id else call.arguments.size)
        frame.kind = REQUEST
        frame.id = call_id
        write_invocation(frame.invocation, call, payload_id)
        return call_id

    def cancel(self, call_id: int) -> None:
        """Nobody waits for a call any more, or comes for what its answer left at the replica."""
        if call_id in self.calls:
            if self.calls[call_id] is None:
                return
            self.calls[call_id] = None
        _note(self.outbox, pb.FRAME_KIND_CANCEL, call_id)

    def receive(self, frames: Iterable[pb.Frame]) -> bool:
        """Take in frames of the replica; whether its state changed.

        Raises:
            ProtocolError: A frame is not in the table.
        """
        state_changed = False
        for frame in frames:
            kind = frame.kind
            if kind == RESPONSE or kind == ERROR:
                awaited = self.calls.pop(frame.id, self)
                if awaited is not None:
                    awaited.answered(frame)
            elif kind == pb.FRAME_KIND_BUSY:
                awaited = self.calls.pop(frame.id, self)
                if awaited is not None:
                    awaited.refused(frame)
            elif kind == pb.FRAME_KIND_STATE:
                self.state = frame.state
                state_changed = True
            elif kind == pb.FRAME_KIND_PING:
                _note(self.outbox, pb.FRAME_KIND_PONG, frame.id)
            elif kind != pb.FRAME_KIND_PONG:
                raise ProtocolError(f"a replica sent a frame of kind {frame.kind}")
        return state_changed

    def answered(self, frame: pb.Frame) -> None:
        """An answer to a call that is not open.

        Raises:
            ProtocolError: Always.
        """
        raise ProtocolError(f"a replica answered call {frame.id}, which is not open")

    refused = answered

    def lost(self) -> tuple[list[Awaited], list[Awaited]]:
        """End the session: the calls that never left, and those that may have run."""
        unsent = set()
        while (message := self.outbox.take()) is not None:
            unsent |= {frame.id for frame in message.frames if frame.kind == REQUEST}
        calls, self.calls = self.calls, {}
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
        # Who calls, as it says itself; empty until then.
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
            if kind == REQUEST:
                if not self.caller:
                    raise ProtocolError("a caller called before it said which deployment it means")
                self._events.requested(frame.id, frame.invocation)
            elif kind == pb.FRAME_KIND_CANCEL:
                self._events.left(frame.id)
            elif kind == pb.FRAME_KIND_PING:
                _note(self.outbox, pb.FRAME_KIND_PONG, frame.id)
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
        self.caller = hello.caller or "somebody"

    def announce(self, state: pb.State) -> None:
        """Tell the caller the replica's state."""
        frame = self.outbox.add()
        frame.kind = pb.FRAME_KIND_STATE
        frame.state.CopyFrom(state)

    def respond(self, call_id: int, payload: Payload | str) -> None:
        """Answer a call with its result, or with the id under which it is kept."""
        if isinstance(payload, str):
            frame = self.outbox.add()
            frame.payload.payload_id = payload
        else:
            frame = self.outbox.add(payload.size)
            write_payload(frame.payload, payload)
        frame.kind = RESPONSE
        frame.id = call_id

    def respond_items(self, call_id: int, items: Sequence[pb.Payload], stream_id: str = "") -> None:
        """Answer a streaming call with its first items, and where the rest is if there is one."""
        frame = self.outbox.add(sum(len(item.pickle) for item in items))
        frame.kind = RESPONSE
        frame.id = call_id
        frame.items.extend(items)
        if stream_id:
            frame.stream_id = stream_id

    def fail(self, call_id: int, failure: pb.Failure) -> None:
        """Answer a call with its error."""
        frame = self.outbox.add(len(failure.pickle) + len(failure.traceback))
        frame.kind = ERROR
        frame.id = call_id
        frame.failure.CopyFrom(failure)

    def refuse(self, call_id: int) -> None:
        """Send a call away before it started."""
        _note(self.outbox, pb.FRAME_KIND_BUSY, call_id)


def _note(outbox: Outbox[M], kind: pb.FrameKind, call_id: int) -> None:
    """Queue a frame that says nothing but its kind."""
    frame = outbox.add()
    frame.kind = kind
    frame.id = call_id
