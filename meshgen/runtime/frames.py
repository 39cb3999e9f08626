"""Between the vocabulary and the messages of the wire."""

from __future__ import annotations

import time

from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.types import Call, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb

PROTOCOL_VERSION = 1
# Some thousand years: what a 64-bit number of milliseconds can say, and more than anybody waits.
_MOST_MS = 1e14


def is_large(payload: Payload) -> bool:
    """Whether a payload travels beside the link."""
    if not payload.buffers:
        return len(payload.pickle) > INLINE_LIMIT
    return payload.size > INLINE_LIMIT


def write_payload(message: pb.Payload, payload: Payload) -> None:
    """Put a payload that travels inline into its message."""
    message.pickle = payload.pickle  # type: ignore[assignment]  # inline ones are bytes
    if payload.buffers:
        message.buffers.extend(payload.buffers)  # type: ignore[arg-type]  # as above


def payload_message(payload: Payload) -> pb.Payload:
    """A payload that travels inline, by itself."""
    message = pb.Payload()
    write_payload(message, payload)
    return message


def read_payload(message: pb.Payload) -> Payload:
    """An inline payload; its buffers are copied so that arrays over them can be written to."""
    buffers = message.buffers
    return Payload(message.pickle, [bytearray(b) for b in buffers] if buffers else ())


def write_invocation(message: pb.Invocation, call: Call, payload_id: str = "") -> None:
    """Put a call into its message; the arguments inline, or by the id they were uploaded under."""
    message.method = call.method
    if call.stream:
        message.stream = True
    if payload_id:
        message.arguments.payload_id = payload_id
    else:
        write_payload(message.arguments, call.arguments)
    write_context(message.context, call.context)


def write_context(message: pb.Context, context: RequestContext) -> None:
    """A request's context; the deadline as time left, at least a millisecond."""
    message.request_id = context.request_id
    if context.deadline is not None:
        left = (context.deadline - time.monotonic()) * 1000
        message.time_left_ms = int(min(max(left, 1.0), _MOST_MS))
    if context.route:
        message.route = context.route
    if context.multiplexed_model_id:
        message.multiplexed_model_id = context.multiplexed_model_id
    if context.session_id:
        message.session_id = context.session_id


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
    )
