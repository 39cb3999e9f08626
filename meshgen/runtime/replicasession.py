"""The replica's end of a link, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from meshgen.errors import ProtocolError
from meshgen.objectref import Passed
from meshgen.runtime.frames import (
    PROTOCOL_VERSION,
    kind_name,
    write_payload,
    write_references,
)
from meshgen.runtime.outbox import Outbox, note
from meshgen.runtime.session import ERROR, REQUEST, RESPONSE
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb

OF_VALUES = frozenset(
    (pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD, pb.FRAME_KIND_RELEASE)
)


class ReplicaEvents(Protocol):
    """What a replica does about what a caller sends."""

    def greeted(self, hello: pb.Hello) -> None:
        """Somebody means this deployment.

        Raises:
            ProtocolError: It knows other methods than there are.
        """

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
        # The greatest id that was used: each is greater than those before it.
        self._last_id = 0
        # Set by who owns this session, before the first frame.
        self.values: ValueEvents

    def receive(self, frames: Sequence[pb.Frame]) -> None:
        """Take in frames of the caller.

        Raises:
            ProtocolError: A frame is not in the table, or the caller speaks another protocol.
        """
        if frames and not self.caller:
            self._greet(frames[0])
            frames = frames[1:]
        for frame in frames:
            kind = frame.kind
            if kind == REQUEST:
                self._use(frame.id)
                self._events.requested(frame.id, frame.invocation)
            elif kind == pb.FRAME_KIND_CANCEL:
                self._used(frame)
                self._events.left(frame.id)
            elif kind == pb.FRAME_KIND_PING:
                note(self.outbox, pb.FRAME_KIND_PONG, frame.id)
            else:
                self._receive_of_value(frame)

    def _receive_of_value(self, frame: pb.Frame) -> None:
        kind = frame.kind
        if kind not in OF_VALUES:
            raise ProtocolError(f"{self.caller} sent {kind_name(frame)}")
        if not frame.value_id:
            raise ProtocolError(f"{self.caller} sent {kind_name(frame)} without a value's id")
        if kind == pb.FRAME_KIND_RETAIN:
            self._used(frame)
            self.values.retained(frame.id, frame.value_id)
        elif kind == pb.FRAME_KIND_RELEASE:
            self.values.released(frame.value_id)
        else:
            self._use(frame.id)
            self.values.asked(frame)

    def _use(self, call_id: int) -> None:
        if call_id <= self._last_id:
            raise ProtocolError(
                f"{self.caller} used the id {call_id} after {self._last_id}: ids of calls grow"
            )
        self._last_id = call_id

    def _used(self, frame: pb.Frame) -> None:
        if not 0 < frame.id <= self._last_id:
            raise ProtocolError(
                f"{self.caller} sent {kind_name(frame)} for call {frame.id}, which it never made"
            )

    def _greet(self, frame: pb.Frame) -> None:
        hello = frame.hello
        if frame.kind != pb.FRAME_KIND_HELLO:
            raise ProtocolError(
                f"a caller sent {kind_name(frame)} before it said which deployment it means"
            )
        if hello.protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                f"{hello.caller} speaks version {hello.protocol} of the mesh protocol, "
                f"{self._deployment} speaks {PROTOCOL_VERSION}: build both with one meshgen"
            )
        if hello.deployment != str(self._deployment):
            raise ProtocolError(
                f"{hello.caller} means to call {hello.deployment}, but this is {self._deployment}"
            )
        self._events.greeted(hello)
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
