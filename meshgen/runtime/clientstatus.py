"""What clients of typed calls are told of an error: one table, from exceptions to gRPC and HTTP.

| error | status | message |
|---|---|---|
| a value that does not fit its hint | `INVALID_ARGUMENT` | its own; `BadRequest` has each field |
| an exception whose class says `grpc_status` or `http_status` | that | its own |
| the mesh has no replica, no room or no time | by its class | a sentence of this table |
| all else | `INTERNAL` | the request's id |

What else is known of an error is for the log. Clients find the request's id in a `RequestInfo`, and
the name of a declared exception in an `ErrorInfo`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2
from google.rpc.status_pb2 import Status

from meshgen.errors import InvalidValueError, MeshError
from meshgen.runtime.statuserror import StatusError

# A status travels in a header, and many a client takes no more than 8 KB of those.
_MOST_BYTES = 1024
_MOST_VIOLATIONS = 16
_MOST_OF_A_REASON = 160

_HTTP = {
    "OK": 200,
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DATA_LOSS": 500,
    "UNAUTHENTICATED": 401,
}
# For classes that declare an HTTP status alone; the rest follows from its first digit.
_FROM_HTTP = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
# Of the mesh's own errors, those that tell a client something it can act on.
_SENTENCES = {
    "CANCELLED": "the request was cancelled",
    "DEADLINE_EXCEEDED": "the request had no result before its deadline",
    "RESOURCE_EXHAUSTED": "too many requests are waiting; try again later",
    "UNAVAILABLE": "the service is not available now; try again later",
}
_HTTP_KEY = "http_status"
# When to try again, for clients of gRPC that retry by themselves.
PUSHBACK = (("grpc-retry-pushback-ms", "100"),)


def status_of(error: BaseException, request_id: str) -> Status:
    """What the client of a failed call is told."""
    if isinstance(error, StatusError):
        return Status.FromString(error.status)
    if isinstance(error, InvalidValueError):
        return _invalid(error, request_id)
    declared = None if isinstance(error, MeshError) else _declared(error)
    if declared is not None:
        return _declared_status(declared, error, request_id)
    name = _own(error)
    sentence = _SENTENCES.get(name)
    if sentence is None:
        return make_status("INTERNAL", f"the request failed (request {request_id})", request_id)
    return make_status(name, f"{sentence} (request {request_id})", request_id)


def make_status(
    name: str, message: str, request_id: str, details: Iterable[Message] = ()
) -> Status:
    """A status of this name; its details end with the request's id."""
    status = Status(code=code_pb2.Code.Value(name), message=_short(message, _MOST_BYTES))
    info = error_details_pb2.RequestInfo(request_id=request_id)
    for detail in (*details, info):
        status.details.add().Pack(detail)
    return status


def name_of(status: Status) -> str:
    """The status by name, such as `NOT_FOUND`."""
    return str(code_pb2.Code.Name(status.code))


def http_status(status: Status) -> int:
    """What a status is over HTTP."""
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.metadata.get(_HTTP_KEY):
            return int(info.metadata[_HTTP_KEY])
    return _HTTP[name_of(status)]


def is_fault(status: Status) -> bool:
    """Whether somebody here has to look into it."""
    return name_of(status) in ("INTERNAL", "UNKNOWN", "DATA_LOSS")


def _invalid(error: InvalidValueError, request_id: str) -> Status:
    bad = error_details_pb2.BadRequest()
    left = _MOST_BYTES * 2
    for path, reason in error.violations[:_MOST_VIOLATIONS]:
        field, description = _short(path, _MOST_OF_A_REASON), _short(reason, _MOST_OF_A_REASON)
        left -= len(field.encode()) + len(description.encode())
        if left < 0:
            break
        bad.field_violations.add(field=field, description=description)
    return make_status("INVALID_ARGUMENT", str(error), request_id, [bad])


def _own(error: BaseException) -> str:
    if isinstance(error, MeshError):
        return error.grpc_status
    return "CANCELLED" if isinstance(error, asyncio.CancelledError) else "INTERNAL"


def _declared(error: BaseException) -> tuple[str, int] | None:
    """The gRPC and the HTTP status that an exception's class declares."""
    cls = type(error)
    given = getattr(cls, "grpc_status", None)
    name = getattr(given, "name", given)
    number = getattr(cls, "http_status", None)
    code = int(number) if isinstance(number, int) and 400 <= number <= 599 else None
    if isinstance(name, str) and name in _HTTP and name != "OK":
        return name, code or _HTTP[name]
    if code is not None:
        return _FROM_HTTP.get(code, "INTERNAL" if code >= 500 else "FAILED_PRECONDITION"), code
    # A status that does not exist: what was meant is that clients are told.
    return None if given is None and number is None else ("UNKNOWN", 500)


def _declared_status(declared: tuple[str, int], error: BaseException, request_id: str) -> Status:
    name, code = declared
    try:
        message = str(error)
    except Exception:  # user code
        message = ""
    info = error_details_pb2.ErrorInfo(
        reason=_short(type(error).__name__, _MOST_OF_A_REASON), metadata={_HTTP_KEY: str(code)}
    )
    return make_status(name, message or type(error).__name__, request_id, [info])


def _short(text: str, most: int) -> str:
    """Text as a Protobuf string can hold it, of so many bytes at most."""
    data = text.encode("utf-8", "backslashreplace")
    return data.decode() if len(data) <= most else data[: most - 4].decode(errors="ignore") + " …"


def trailers(status: Status) -> tuple[tuple[str, str | bytes], ...]:
    """The metadata that a failed RPC ends with."""
    details = ("grpc-status-details-bin", status.SerializeToString())
    return (details, *PUSHBACK) if name_of(status) == "RESOURCE_EXHAUSTED" else (details,)
