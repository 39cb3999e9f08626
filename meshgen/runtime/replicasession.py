"""The replica's end of a link, without I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from meshgen.errors import ProtocolError
from meshgen.objectref import Passed
from meshgen.runtime.frames import PROTOCOL_VERSION, write_payload, write_references
from meshgen.runtime.outbox import Outbox, note
from meshgen.runtime.session import ERROR, REQUEST, RESPONSE
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb


class ReplicaEvents(Protocol):
    """What a replica does about what a caller sends."""

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """A call came."""

    def left(self, call_id: int) -> None:
        """Nobody waits for a call any more."""


class ValueEvents(Protocol):
    """What a replica does about the values that a caller needs."""

    def retained(self, call_id: int, value_id: str) -> None:
        """The outcome of a call is to be kept."""

    def asked(self, frame: pb.Frame) -> None:
        """A value is wanted, or a hold on it."""

    def released(self, value_id: str) -> None:
        """A value is needed no more."""


class ReplicaSession:
    """The replica's end of a link."""

    def __init__(self, deployment: DeploymentID, events: ReplicaEvents) -> None:
        self.outbox: Outbox[pb.LinkResponse] = Outbox(pb.LinkResponse)
        # Who calls, as it says itself; empty until then.
        self.caller = ""
        self._deployment = deployment
        self._events = events
        # Set by who owns this session, before the first frame.
        self.values: ValueEvents

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
                note(self.outbox, pb.FRAME_KIND_PONG, frame.id)
            elif kind == pb.FRAME_KIND_HELLO:
                self._greet(frame.hello)
            elif kind != pb.FRAME_KIND_PONG:
                self._receive_of_value(frame)

    def _receive_of_value(self, frame: pb.Frame) -> None:
        kind = frame.kind
        if kind == pb.FRAME_KIND_RETAIN:
            self.values.retained(frame.id, frame.value_id)
        elif kind == pb.FRAME_KIND_FETCH or kind == pb.FRAME_KIND_HOLD:
            self.values.asked(frame)
        elif kind == pb.FRAME_KIND_RELEASE:
            self.values.released(frame.value_id)
        else:
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

    def respond(self, call_id: int, payload: Payload) -> None:
        """Answer with a value."""
        frame = self.outbox.add(payload.size)
        write_payload(frame.payload, payload)
        frame.kind = RESPONSE
        frame.id = call_id

    def respond_with_id(
        self, call_id: int, value_id: str, references: Sequence[Passed] = ()
    ) -> None:
        """Answer with the id under which a large value is kept, and with what it refers to."""
        frame = self.outbox.add()
        frame.kind = RESPONSE
        frame.id = call_id
        frame.payload.payload_id = value_id
        write_references(frame.payload, references)

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

    def confirm(self, call_id: int) -> None:
        """The outcome of a call is going to be kept, as was asked for."""
        note(self.outbox, pb.FRAME_KIND_RETAIN, call_id)

    def refuse(self, call_id: int) -> None:
        """Send a call away before it started."""
        note(self.outbox, pb.FRAME_KIND_BUSY, call_id)
