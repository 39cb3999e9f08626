"""What the gateway answers where there is no answer: one table from errors to HTTP statuses."""

from __future__ import annotations

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    MeshError,
    RequestCancelledError,
    UnavailableError,
)
from meshgen.runtime.httpmessage import HeaderList

CLIENT_CLOSED_REQUEST = 499


class RefusedError(MeshError):
    """The gateway does not pass a request on; `status` and `message` are for the client."""

    grpc_status = "INVALID_ARGUMENT"

    def __init__(self, status: int, message: str, headers: HeaderList = ()) -> None:
        super().__init__(status, message, headers)
        self.status = status
        self.message = message
        self.headers = headers

    def __str__(self) -> str:
        return self.message


def refusal(error: Exception, request_id: str) -> RefusedError:
    """What the client is told of an error. What the error itself says is for the log only."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, DeadlineError):
        return RefusedError(408, f"Request {request_id} timed out")
    if isinstance(error, BackPressureError):
        return RefusedError(
            503,
            f"Too many requests are waiting; try again later (request {request_id})",
            ((b"retry-after", b"1"),),
        )
    if isinstance(error, UnavailableError):
        return RefusedError(503, f"Service Unavailable (request {request_id})")
    if isinstance(error, RequestCancelledError):
        return RefusedError(CLIENT_CLOSED_REQUEST, f"The call was cancelled (request {request_id})")
    return RefusedError(500, f"Internal Server Error (request {request_id})")
