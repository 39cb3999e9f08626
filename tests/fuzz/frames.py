"""Any bytes as messages of the Link, at either of its ends: a ProtocolError at worst.

The first byte says which end takes the rest in, and which of its calls were left before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import atheris

from tests.fuzz.harness import INSTRUMENTED, PickleWatch, fuzz

with atheris.instrument_imports(include=INSTRUMENTED):
    from meshgen.runtime.replicasession import ReplicaSession
    from meshgen.runtime.session import CallerSession
    from meshgen.runtime.skew import check_methods, methods_text
    from tests.runtime.links import CART, Waiting, a_call

from google.protobuf.message import DecodeError

from meshgen.errors import ProtocolError
from meshgen.stub import DeploymentStub, method_stubs
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

_OPEN = 4
_TO_REPLICA, _GREETED = 0x80, 0x40


class Cart:
    """Called by the link that is fuzzed."""

    def add(self, name: str, count: int = 1, *rest: int, note: str = "", **more: int) -> int:
        """Something."""
        return count


STUB = DeploymentStub(id=CART, service="cart", methods=method_stubs(Cart))
watch = PickleWatch()


@dataclass
class Events:
    """A replica that holds its session to what it promises."""

    session: ReplicaSession | None = None
    used: list[int] = field(default_factory=list)

    def greeted(self, hello: pb.Hello) -> None:
        """As `LinkHost` does it."""
        check_methods(hello, STUB, "the replica")

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """Ids grow."""
        assert call_id > max(self.used, default=0)
        self.used.append(call_id)

    def left(self, call_id: int) -> None:
        """It may have been any id so far."""
        assert 0 < call_id <= max(self.used)

    def retained(self, call_id: int, value_id: str) -> None:
        """Of a call that was made."""
        assert 0 < call_id <= max(self.used) and value_id

    def asked(self, frame: pb.Frame) -> None:
        """With an id of its own."""
        assert frame.value_id
        self.requested(frame.id, frame.invocation)

    def released(self, value_id: str) -> None:
        """A value by its id."""
        assert value_id


def at_the_replica(data: bytes, *, greeted: bool) -> None:
    """What a caller may send."""
    events = Events()
    session = ReplicaSession(CART, events)
    session.values = events
    try:
        if greeted:
            session.receive(_greeting().frames)
        session.receive(pb.LinkRequest.FromString(data).frames)
    except (ProtocolError, DecodeError):
        pass
    answers = _sent(session)
    assert all(frame.kind == pb.FRAME_KIND_PONG for frame in answers)
    assert session.caller or not (events.used or answers)


def at_the_caller(data: bytes, left: int) -> None:
    """What a replica may send: each call ends once, and nothing is left of the session."""
    session, pongs = CallerSession(), list[int]()
    calls = {session.request(a_call(), call): call for call in (Waiting() for _ in range(_OPEN))}
    session.ask(pb.FRAME_KIND_FETCH, "v", Waiting())
    session.ping(lambda: pongs.append(1))
    gone = {call_id for call_id in calls if left >> call_id & 1}
    for call_id in gone:
        session.cancel(call_id)
    _sent(session)
    try:
        session.receive(pb.LinkResponse.FromString(data).frames)
    except (ProtocolError, DecodeError):
        pass
    assert session.waiting <= session.calls.keys()
    assert session.in_flight <= _OPEN + 1
    unsent, lost = session.lost()
    assert not unsent
    for call in lost:
        call.lost()
    assert len(pongs) <= 1 and not session.calls and not session.waiting
    assert {i: len(call.ends) for i, call in calls.items()} == {i: i not in gone for i in calls}


def _sent(session: CallerSession | ReplicaSession) -> list[pb.Frame]:
    frames: list[pb.Frame] = []
    while (message := session.outbox.take()) is not None:
        frames += type(message).FromString(message.SerializeToString()).frames
    return frames


def _greeting() -> pb.LinkRequest:
    session = CallerSession()
    session.hello(CART, "fuzz", methods_text(STUB))
    message = session.outbox.take()
    assert message is not None
    return message


def target(data: bytes) -> None:
    """One input."""
    first = data[0] if data else 0
    if first & _TO_REPLICA:
        at_the_replica(data[1:], greeted=bool(first & _GREETED))
    else:
        at_the_caller(data[1:], first)
    watch.check()


def seeds() -> list[bytes]:
    """What two sessions say to each other."""
    caller, events = CallerSession(), Events()
    replica = ReplicaSession(CART, events)
    caller.hello(CART, "fuzz", methods_text(STUB))
    for _ in range(2):
        call_id = caller.request(a_call(), Waiting())
        caller.retain(call_id, "v")
    caller.ask(pb.FRAME_KIND_HOLD, "v", Waiting())
    caller.release("v")
    caller.cancel(1)
    caller.ping(lambda: None)
    replica.announce(pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=5))
    replica.confirm(1)
    replica.respond(1, Payload(b"pickle", [b"buffer"]))
    replica.respond_with_id(2, "v")
    replica.respond_items(3, [pb.Payload(pickle=b"item")], "rest")
    replica.fail(4, pb.Failure(pickle=b"error", traceback="text"))
    replica.refuse(5)
    replica.respond(6, Payload(watch.bombs()[-1]))
    asked = pb.LinkRequest(frames=[*_greeting().frames, *_sent(caller)[1:]]).SerializeToString()
    told = pb.LinkResponse(frames=_sent(replica)).SerializeToString()
    known = pb.LinkRequest(frames=pb.LinkRequest.FromString(asked).frames[1:])
    return [
        bytes([_TO_REPLICA]) + asked,
        bytes([_TO_REPLICA | _GREETED]) + known.SerializeToString(),
        *(bytes([left]) + told for left in (0, 6)),
    ]


if __name__ == "__main__":
    fuzz("frames", target, seeds())
