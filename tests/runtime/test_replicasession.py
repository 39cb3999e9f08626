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
    hello = pb.Hello(protocol=PROTOCOL_VERSION + 1, deployment="shop/Cart", caller="shop/Till#1")
    with pytest.raises(ProtocolError, match=r"shop/Till#1 speaks version \d+ .* build both"):
        replica_session(Requested()).receive([pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello)])


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
    with pytest.raises(ProtocolError, match="test sent a frame of kind"):
        replica.receive([pb.Frame(kind=kind)])


@pytest.mark.parametrize("kind", [pb.FRAME_KIND_HELLO, pb.FRAME_KIND_PONG, 99])
def test_what_is_said_once_or_never_is_not_said_twice(kind: int) -> None:
    """A second greeting, an answer to no question, and what no version knows."""
    _, replica, _ = connected()
    with pytest.raises(ProtocolError, match=r"test sent a frame of kind (HELLO|PONG|99)"):
        replica.receive([pb.Frame(kind=kind)])  # type: ignore[arg-type]  # as it may be read


@pytest.mark.parametrize("call_id", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", [pb.FRAME_KIND_REQUEST, pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD])
def test_an_id_is_never_used_again(kind: pb.FrameKind, call_id: int) -> None:
    """Not by an answered call, and not by a question: what is left there goes by it."""
    _, replica, asked = connected()
    replica.receive([pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=3)])
    with pytest.raises(ProtocolError, match=f"test used the id {call_id} after 3"):
        replica.receive([pb.Frame(kind=kind, id=call_id, value_id="v")])
    assert len(asked.calls) == 1 and not asked.of_values


@pytest.mark.parametrize("call_id", [0, 4])
@pytest.mark.parametrize("kind", [pb.FRAME_KIND_CANCEL, pb.FRAME_KIND_RETAIN])
def test_nothing_is_said_about_a_call_that_was_never_made(kind: pb.FrameKind, call_id: int) -> None:
    """What is said of one comes after its REQUEST."""
    _, replica, asked = connected()
    replica.receive([pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=3)])
    with pytest.raises(ProtocolError, match=f"for call {call_id}, which it never made"):
        replica.receive([pb.Frame(kind=kind, id=call_id, value_id="v")])
    assert not asked.left_calls and not asked.of_values


@pytest.mark.parametrize(
    "kind",
    [pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD, pb.FRAME_KIND_RELEASE],
)
def test_a_value_has_a_name(kind: pb.FrameKind) -> None:
    """What says something of a value says of which."""
    _, replica, _ = connected()
    with pytest.raises(ProtocolError, match="without a value's id"):
        replica.receive([pb.Frame(kind=kind, id=1)])


@pytest.mark.parametrize("kind", [k for k in pb.FrameKind.values() if k != pb.FRAME_KIND_HELLO])
def test_a_caller_says_who_it_means_before_anything_else(kind: pb.FrameKind) -> None:
    """A PING is no exception."""
    replica = replica_session(Requested())
    with pytest.raises(ProtocolError, match="before it said which deployment it means"):
        replica.receive([pb.Frame(kind=kind, id=1, value_id="v")])
