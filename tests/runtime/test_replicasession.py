"""The replica's end of a link: what it takes in, and how it answers."""

from __future__ import annotations

import pytest

from meshgen.errors import ProtocolError
from meshgen.runtime.frames import PROTOCOL_VERSION, read_payload
from meshgen.runtime.session import ERROR, RESPONSE, CallerSession
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.links import Requested, Waiting, a_call, all_of, connected, replica_session


def test_a_result_arrives_with_its_payload() -> None:
    """Inline, or as the id to fetch it by."""
    caller, replica, asked = connected()
    replica.respond(1, Payload(b"data", [b"buffer"]))
    replica.respond_with_id(2, "kept-here")
    inline, kept = all_of(replica.outbox)
    assert read_payload(inline.payload) == Payload(b"data", [bytearray(b"buffer")])
    assert kept.payload.payload_id == "kept-here"


def test_a_retain_is_answered_with_the_id_of_its_call() -> None:
    """Nothing else: the caller knows under which id it is going to be kept."""
    _, replica, _ = connected()
    replica.confirm(3)
    assert all_of(replica.outbox) == [pb.Frame(kind=pb.FRAME_KIND_RETAIN, id=3)]


def test_another_version_of_the_protocol_is_refused() -> None:
    """The sentence says who speaks what, and what to do."""
    _, replica, _ = connected()
    hello = pb.Hello(protocol=PROTOCOL_VERSION + 1, deployment="shop/Cart", caller="shop/Till#1")
    with pytest.raises(ProtocolError, match=r"shop/Till#1 speaks version 2 .* build both"):
        replica.receive([pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello)])


def test_a_caller_that_means_another_deployment_is_refused() -> None:
    """An address may have a new owner."""
    caller = CallerSession()
    caller.hello(DeploymentID("shop", "Till"), "driver")
    with pytest.raises(
        ProtocolError, match="driver means to call shop/Till, but this is shop/Cart"
    ):
        replica_session(Requested()).receive(all_of(caller.outbox))


def test_a_caller_that_does_not_say_who_it_means_is_refused() -> None:
    """Its first frame is a HELLO, or it speaks something else."""
    caller, asked = CallerSession(), Requested()
    caller.request(a_call(), Waiting())
    with pytest.raises(ProtocolError, match="before it said which deployment it means"):
        replica_session(asked).receive(all_of(caller.outbox))
    assert asked.calls == []


@pytest.mark.parametrize(
    "kind", [pb.FRAME_KIND_UNSPECIFIED, pb.FRAME_KIND_STATE, RESPONSE, ERROR, pb.FRAME_KIND_BUSY]
)
def test_a_caller_never_sends_what_a_replica_does(kind: pb.FrameKind) -> None:
    """It is not in the replica's table."""
    _, replica, _ = connected()
    with pytest.raises(ProtocolError, match="a caller sent a frame of kind"):
        replica.receive([pb.Frame(kind=kind)])
