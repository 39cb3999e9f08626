"""Between the vocabulary and the messages of the wire."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.objectref import Passed
from meshgen.reply import Reply
from meshgen.runtime import frames
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.types import Call, DeploymentID, Payload, RequestContext, Token
from meshgen.v1 import mesh_pb2 as pb


@settings(deadline=None)
@given(st.binary(), st.lists(st.binary()))
def test_a_payload_survives_its_message(data: bytes, buffers: list[bytes]) -> None:
    """The pickle and every buffer, in order."""
    message = pb.Payload.FromString(
        frames.payload_message(Payload(data, buffers)).SerializeToString()
    )
    arrived = frames.read_payload(message)
    assert arrived.pickle == data and list(arrived.buffers) == buffers


@pytest.mark.parametrize(
    ("payload", "large"),
    [
        (Payload(bytes(INLINE_LIMIT)), False),
        (Payload(bytes(INLINE_LIMIT + 1)), True),
        (Payload(b"", [bytes(INLINE_LIMIT // 2)] * 2), False),
        (Payload(b"x", [bytes(INLINE_LIMIT // 2)] * 2), True),
    ],
    ids=["just-inline", "one-too-many", "parts-inline", "parts-too-many"],
)
def test_what_is_large_is_decided_by_all_bytes(payload: Payload, large: bool) -> None:
    """The pickle and the buffers together."""
    assert frames.is_large(payload) is large


def test_a_call_survives_its_message() -> None:
    """Method, arguments, and whether it is a stream."""
    call = Call("add", Payload(b"args", [b"buffer"]), RequestContext(request_id="r"), stream=True)
    written = pb.Invocation()
    frames.write_invocation(written, call)
    message = pb.Invocation.FromString(written.SerializeToString())
    assert message.method == "add" and message.stream
    assert message.context.request_id == "r"
    assert frames.read_payload(message.arguments).pickle == b"args"


def test_uploaded_arguments_are_named_only() -> None:
    """They are there already."""
    call = Call("add", Payload(b"args"), RequestContext())
    message = pb.Invocation()
    frames.write_invocation(message, call, "p1")
    assert message.arguments.payload_id == "p1" and not message.arguments.pickle


def _through(context: RequestContext) -> RequestContext:
    message = pb.Context()
    frames.write_context(message, context)
    return frames.read_context(pb.Context.FromString(message.SerializeToString()), "shop")


def test_a_request_keeps_its_identity_and_gets_the_callees_application() -> None:
    """Everything but the application travels."""
    context = RequestContext(
        request_id="r", route="/shop", app_name="other", multiplexed_model_id="m", session_id="s"
    )
    assert _through(context) == RequestContext(
        request_id="r",
        route="/shop",
        app_name="shop",
        multiplexed_model_id="m",
        session_id="s",
        is_served=True,
    )


@settings(deadline=None)
@given(st.floats(min_value=0.1, max_value=1e9))
def test_a_deadline_travels_as_time_left(seconds: float) -> None:
    """Clocks of machines differ; what is left does not."""
    began = time.monotonic()
    left = _through(RequestContext(deadline=began + seconds)).time_left()
    took = time.monotonic() - began
    assert left is not None and seconds - took - 0.002 < left <= seconds


def test_a_deadline_that_has_passed_is_still_a_deadline() -> None:
    """No time left is not the same as no deadline."""
    left = _through(RequestContext(deadline=time.monotonic() - 5)).time_left()
    assert left is not None and left < 0.1


@pytest.mark.parametrize("deadline", [math.inf, 1e300])
def test_a_deadline_beyond_all_time_travels(deadline: float) -> None:
    """It is more than a number of milliseconds can say."""
    left = _through(RequestContext(deadline=deadline)).time_left()
    assert left is None or left > 1e9


class _Elsewhere:
    """A value at a replica."""

    payload: Payload | None = None
    error: BaseException | None = None
    token = Token(DeploymentID("shop", "Cart"), "unix:/there.sock", "v1")

    def fetch(self, reply: Reply) -> None:
        """Nobody wants it here."""
        raise AssertionError("it is only written")


def _written(*replies: Reply, by_value: bool = False) -> list[pb.Reference]:
    passed = [Passed(reply, by_value) for reply in replies]
    message = frames.payload_message(Payload(b"N.", (), passed))
    return list(pb.Payload.FromString(message.SerializeToString()).references)


@pytest.mark.parametrize("by_value", [False, True])
def test_a_value_elsewhere_is_written_as_where_it_is(by_value: bool) -> None:
    """Owner, address and id; and whether the value itself is meant."""
    reply = Reply()
    reply.leave_at(_Elsewhere())
    (reference,) = _written(reply, by_value=by_value)
    assert (reference.owner, reference.address) == ("shop/Cart", "unix:/there.sock")
    assert reference.value_id == "v1" and reference.by_value is by_value


def test_a_value_that_is_here_is_written_itself() -> None:
    """With its buffers, whatever they are views of."""
    reply = Reply()
    reply.resolve(Payload(bytearray(b"data"), [memoryview(b"buffer")]), lambda _: None)
    (reference,) = _written(reply)
    arrived = frames.read_payload(reference.payload)
    assert arrived.pickle == b"data" and [bytes(part) for part in arrived.buffers] == [b"buffer"]
    assert not reference.value_id


def test_an_error_is_written_as_one() -> None:
    """Whoever awaits it raises it."""
    reply = Reply()
    reply.fail(KeyError("upstream"))
    (reference,) = _written(reply)
    assert reference.failure.type_name == "builtins.KeyError"


def test_a_value_that_refers_to_others_is_written_with_them() -> None:
    """To any depth."""
    inner, middle = Reply(), Reply()
    inner.leave_at(_Elsewhere())
    middle.resolve(Payload(b"N.", (), [Passed(inner, False)]), lambda _: None)
    (reference,) = _written(middle)
    assert [each.value_id for each in reference.payload.references] == ["v1"]


def test_a_value_that_had_to_leave_its_replica_is_written_itself() -> None:
    """Where it was, nobody is left."""
    reply, kept = Reply(), _Elsewhere()
    reply.leave_at(kept)
    kept.payload = Payload(b"evacuated")
    (reference,) = _written(reply)
    assert reference.payload.pickle == b"evacuated" and not reference.value_id


def test_arguments_that_were_uploaded_are_written_with_what_they_refer_to() -> None:
    """The pickle travels apart; what it needs is known before it is looked at."""
    reply = Reply()
    reply.leave_at(_Elsewhere())
    call = Call("add", Payload(b"large", (), [Passed(reply, True)]), RequestContext())
    message = pb.Invocation()
    frames.write_invocation(message, call, "p")
    assert message.arguments.payload_id == "p" and not message.arguments.pickle
    assert message.arguments.has_more
    assert [each.value_id for each in message.arguments.references] == ["v1"]
