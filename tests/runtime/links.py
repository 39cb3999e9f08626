"""Both ends of a link without what carries its frames."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshgen.runtime.outbox import Outbox
from meshgen.runtime.replicasession import ReplicaSession
from meshgen.runtime.session import CallerSession
from meshgen.types import Call, DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb

CART = DeploymentID("shop", "Cart")


@dataclass(eq=False)
class Waiting:
    """A call as the session sees it; notes what became of it."""

    ends: list[str] = field(default_factory=list)
    confirmed: int = 0

    def answered(self, frame: pb.Frame) -> None:
        """Its outcome."""
        self.ends.append("failed" if frame.kind == pb.FRAME_KIND_ERROR else "answered")

    def refused(self, frame: pb.Frame) -> None:
        """To be sent elsewhere."""
        self.ends.append("refused")

    def retained(self) -> None:
        """Going to be kept: it runs on."""
        self.confirmed += 1

    def lost(self) -> None:
        """With its link."""
        self.ends.append("lost")


@dataclass(eq=False)
class Requested:
    """What a replica was asked for."""

    calls: list[tuple[int, str]] = field(default_factory=list)
    left_calls: list[int] = field(default_factory=list)
    of_values: list[str] = field(default_factory=list)

    def greeted(self, hello: pb.Hello) -> None:
        """It fits."""

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """A call came."""
        self.calls.append((call_id, invocation.method))

    def left(self, call_id: int) -> None:
        """A call was cancelled."""
        self.left_calls.append(call_id)

    def retained(self, call_id: int, value_id: str) -> None:
        """An outcome is to be kept."""
        self.of_values.append(f"{call_id} retained as {value_id}")

    def asked(self, frame: pb.Frame) -> None:
        """A value is wanted."""
        kind = pb.FrameKind.Name(frame.kind).removeprefix("FRAME_KIND_")
        self.of_values.append(f"{frame.id} asks {kind} {frame.value_id}")

    def released(self, value_id: str) -> None:
        """A value is needed no more."""
        self.of_values.append(f"{value_id} released")


def a_call(method: str = "add", size: int = 4) -> Call:
    """A call with arguments of that many bytes."""
    return Call(method, Payload(bytes(size)), RequestContext())


def all_of(outbox: Outbox[pb.LinkRequest] | Outbox[pb.LinkResponse]) -> list[pb.Frame]:
    """Every queued frame, as the other side reads it."""
    frames: list[pb.Frame] = []
    while (message := outbox.take()) is not None:
        frames += type(message).FromString(message.SerializeToString()).frames
    return frames


def replica_session(asked: Requested) -> ReplicaSession:
    """A replica's end, which tells of all that comes."""
    replica = ReplicaSession(CART, asked)
    replica.values = asked
    return replica


def connected() -> tuple[CallerSession, ReplicaSession, Requested]:
    """Both ends, after the greeting."""
    caller, asked = CallerSession(), Requested()
    replica = replica_session(asked)
    caller.hello(CART, "test")
    replica.receive(all_of(caller.outbox))
    return caller, replica, asked
