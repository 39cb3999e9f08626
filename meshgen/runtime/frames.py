"""Between the vocabulary and the messages of the wire."""

from __future__ import annotations

import time
from collections.abc import Sequence

from meshgen.objectref import Passed
from meshgen.passedstream import PassedStream
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode_failure
from meshgen.types import Call, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb

PROTOCOL_VERSION = 2
# Some thousand years: what a 64-bit number of milliseconds can say, and more than anybody waits.
_MOST_MS = 1e14


def kind_name(frame: pb.Frame) -> str:
    """What a frame is, for errors: by name, or by number where it is not known."""
    known = frame.kind in pb.FrameKind.values()
    name = pb.FrameKind.Name(frame.kind).removeprefix("FRAME_KIND_") if known else frame.kind
    return f"a frame of kind {name}"


def is_large(payload: Payload) -> bool:
    """Whether a payload travels beside the link."""
    if not payload.buffers:
        return len(payload.pickle) > INLINE_LIMIT
    return payload.size > INLINE_LIMIT


def write_payload(message: pb.Payload, payload: Payload) -> None:
    """Put a payload that travels inline into its message."""
    message.pickle = payload.pickle  # type: ignore[assignment]  # see `as_bytes`
    if payload.buffers or payload.references:
        message.has_more = True
        message.buffers.extend(payload.buffers)  # type: ignore[arg-type]  # as above
        write_references(message, payload.references)


def as_bytes(payload: Payload) -> Payload:
    """A payload that came over a wire, or from disk, as Protobuf takes it."""
    buffers = [bytes(part) for part in payload.buffers]
    return Payload(bytes(payload.pickle), buffers, payload.references)


def write_references(message: pb.Payload, passed: Sequence[Passed]) -> None:
    """Put in what a payload refers to. All of it must be passable."""
    message.has_more = message.has_more or bool(passed)
    for each in passed:
        _write_reference(message.references.add(), each.reply, each.by_value)


def _write_reference(message: pb.Reference, reply: Reply, by_value: bool) -> None:
    message.by_value = by_value
    if isinstance(reply, PassedStream):
        _write_stream(message.stream, reply)
        return
    token = reply.token
    if token is not None:
        message.owner = str(token.owner)
        message.address = token.address
        message.value_id = token.value_id
    elif (payload := reply.payload) is not None:
        write_payload(message.payload, as_bytes(payload))
    else:
        assert reply.error is not None
        message.failure.CopyFrom(encode_failure(reply.error, "its caller"))


def _write_stream(message: pb.PassedStream, stream: PassedStream) -> None:
    assert stream.payload is not None
    if stream.payload.pickle:
        message.ParseFromString(bytes(stream.payload.pickle))
        return
    message.items.extend(map(payload_message, stream.items))
    if stream.failure is not None:
        message.failure.CopyFrom(encode_failure(stream.failure, "its caller"))


def payload_message(payload: Payload) -> pb.Payload:
    """A payload that travels inline, by itself."""
    message = pb.Payload()
    write_payload(message, payload)
    return message


def read_payload(message: pb.Payload) -> Payload:
    """An inline payload; its buffers are copied so that arrays over them can be written to.

    What it refers to is read by whoever can bring it: `Holds.read`.
    """
    if not message.has_more:
        return Payload(message.pickle)
    return Payload(message.pickle, [bytearray(part) for part in message.buffers])


def write_invocation(message: pb.Invocation, call: Call, payload_id: str = "") -> None:
    """Put a call into its message; the arguments inline, or by the id they were uploaded under."""
    message.method = call.method
    if call.stream:
        message.stream = True
    if call.typed:
        message.typed = True
    if payload_id:
        message.arguments.payload_id = payload_id
        write_references(message.arguments, call.arguments.references)
    else:
        write_payload(message.arguments, call.arguments)
    write_context(message.context, call.context)


def write_context(message: pb.Context, context: RequestContext) -> None:
    """A request's context; the deadline as time left, at least a millisecond."""
    message.request_id = context.request_id
    if context.deadline is not None:
        message.time_left_ms = milliseconds_left(context.deadline)
    if context.route:
        message.route = context.route
    if context.multiplexed_model_id:
        message.multiplexed_model_id = context.multiplexed_model_id
    if context.session_id:
        message.session_id = context.session_id


def milliseconds_left(deadline: float) -> int:
    """The time to a deadline, at least a millisecond: none would be no deadline."""
    return int(min(max((deadline - time.monotonic()) * 1000, 1.0), _MOST_MS))


def read_context(message: pb.Context, app: str) -> RequestContext:
    """A request's context as the replica of application `app` sees it."""
    left = message.time_left_ms
    return RequestContext(
        request_id=message.request_id,
        route=message.route,
        app_name=app,
        multiplexed_model_id=message.multiplexed_model_id,
        session_id=message.session_id,
        deadline=time.monotonic() + left / 1000 if left else None,
        is_served=True,
    )
