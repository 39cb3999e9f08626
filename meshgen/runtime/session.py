"""The protocol of a link as state, without I/O: the caller's end.

For each call (h2's way: what is not in the table is an error):

    state      REQUEST   CANCEL     RESPONSE/ERROR   BUSY           link lost
    -          → OPEN    told       ProtocolError    ProtocolError  -
    OPEN       -         → LEFT     answered → -     refused → -    lost → -
    LEFT       -         stays      → -              → -            → -

`LEFT` is a call that nobody waits for while the replica still runs it: it counts as in flight.
A replica that has answered is told of a CANCEL too: it may keep what the answer said to come for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from meshgen import __version__
from meshgen.errors import ProtocolError
from meshgen.runtime.frames import PROTOCOL_VERSION, kind_name, write_invocation
from meshgen.runtime.outbox import Outbox, note
from meshgen.types import Call, DeploymentID
from meshgen.v1 import mesh_pb2 as pb

# Looked up once: the generated module finds its enum values anew at each access.
REQUEST = pb.FRAME_KIND_REQUEST
RESPONSE = pb.FRAME_KIND_RESPONSE
ERROR = pb.FRAME_KIND_ERROR
_ANSWERS = frozenset((RESPONSE, ERROR, pb.FRAME_KIND_BUSY))


class Awaited(Protocol):
    """A call as its caller's session sees it."""

    def answered(self, frame: pb.Frame) -> None:
        """The replica answered with a RESPONSE or an ERROR."""

    def refused(self, frame: pb.Frame) -> None:
        """The replica did not start the call: it may go elsewhere."""

    def retained(self) -> None:
        """The replica is going to keep the outcome, as it was asked to."""

    def lost(self) -> None:
        """The link ended before an answer."""


class CallerSession:
    """The caller's end of a link."""

    def __init__(self) -> None:
        self.outbox: Outbox[pb.LinkRequest] = Outbox(pb.LinkRequest)
        self.state = pb.State()
        # How many calls, of whichever caller, ran there when its last message left.
        self.ongoing = 0
        # None stands for a call that was left.
        self.calls: dict[int, Awaited | None] = {}
        # Those of them that take no slot there: questions, and calls that wait for values.
        self.waiting: set[int] = set()
        # Who waits for a PONG, by the id of the PING.
        self._pings: dict[int, Callable[[], None]] = {}
        self._next_id = 1

    @property
    def in_flight(self) -> int:
        """Calls that the replica has not answered."""
        return len(self.calls)

    def hello(self, deployment: DeploymentID, caller: str, methods: str = "") -> None:
        """Say who calls whom, and which methods it knows; the first frame of a link."""
        frame = self.outbox.add()
        frame.kind = pb.FRAME_KIND_HELLO
        frame.hello.protocol = PROTOCOL_VERSION
        frame.hello.deployment = str(deployment)
        frame.hello.caller = caller
        frame.hello.methods = methods
        frame.hello.version = __version__

    def ping(self, on_pong: Callable[[], None]) -> None:
        """Have the replica's loop answer; `on_pong` is called when it has, if it ever does."""
        ping_id = self._next_id
        self._next_id += 1
        self._pings[ping_id] = on_pong
        note(self.outbox, pb.FRAME_KIND_PING, ping_id)

    def request(self, call: Call, awaited: Awaited, payload_id: str = "") -> int:
        """Queue a call and return its id; its arguments were uploaded if there is a payload id."""
        call_id = self._new_call(awaited)
        frame = self.outbox.add(0 if payload_id else call.arguments.size)
        frame.kind = REQUEST
        frame.id = call_id
        write_invocation(frame.invocation, call, payload_id)
        return call_id

    def _new_call(self, awaited: Awaited) -> int:
        call_id = self._next_id
        self._next_id += 1
        self.calls[call_id] = awaited
        return call_id

    def retain(self, call_id: int, value_id: str) -> None:
        """Have a call's outcome kept for this link, as a value of that id."""
        note(self.outbox, pb.FRAME_KIND_RETAIN, call_id).value_id = value_id

    def ask(self, kind: pb.FrameKind, value_id: str, awaited: Awaited) -> int:
        """FETCH or HOLD a value; the id of the question."""
        call_id = self._new_call(awaited)
        self.waiting.add(call_id)
        note(self.outbox, kind, call_id).value_id = value_id
        return call_id

    def release(self, value_id: str) -> None:
        """Need a value no more."""
        note(self.outbox, pb.FRAME_KIND_RELEASE, 0).value_id = value_id

    def cancel(self, call_id: int) -> None:
        """Nobody waits for a call any more, or comes for what its answer left at the replica."""
        if call_id in self.calls:
            if self.calls[call_id] is None:
                return
            self.calls[call_id] = None
        note(self.outbox, pb.FRAME_KIND_CANCEL, call_id)

    def receive(self, frames: Iterable[pb.Frame]) -> bool:
        """Take in frames of the replica; whether its state changed.

        Raises:
            ProtocolError: A frame is not in the table.
        """
        state_changed = False
        for frame in frames:
            kind = frame.kind
            # Not by a RETAIN, after which the call waits on, nor by a PING of the same id.
            if self.waiting and kind in _ANSWERS:
                self.waiting.discard(frame.id)
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
            else:
                self._receive_rare(frame)
        return state_changed

    def _receive_rare(self, frame: pb.Frame) -> None:
        if frame.kind == pb.FRAME_KIND_RETAIN:
            awaited = self.calls.get(frame.id)
            if awaited is not None:
                awaited.retained()
        elif frame.kind == pb.FRAME_KIND_PING:
            note(self.outbox, pb.FRAME_KIND_PONG, frame.id)
        elif frame.kind == pb.FRAME_KIND_PONG:
            if frame.id not in self._pings:
                raise ProtocolError(f"a replica answered ping {frame.id}, which is not open")
            self._pings.pop(frame.id)()
        else:
            raise ProtocolError(f"a replica sent {kind_name(frame)}")

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
        self.waiting.clear()
        waiting = [(call_id, call) for call_id, call in calls.items() if call is not None]
        return (
            [call for call_id, call in waiting if call_id in unsent],
            [call for call_id, call in waiting if call_id not in unsent],
        )
