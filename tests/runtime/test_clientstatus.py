"""What clients learn of errors, over gRPC and HTTP."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.rpc import error_details_pb2

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    InvalidResultError,
    InvalidValueError,
    MeshError,
    RemoteError,
    ReplicaLostError,
    RequestCancelledError,
    SignatureError,
)
from meshgen.runtime.clientstatus import http_status, name_of, status_of, trailers
from meshgen.runtime.statuserror import StatusError


def raised(**declared: object) -> Exception:
    """An exception whose class declares this."""
    made: Exception = type("Declared", (Exception,), declared)("its own words")
    return made


@pytest.mark.parametrize(
    ("error", "name", "http"),
    [
        (InvalidValueError("x"), "INVALID_ARGUMENT", 400),
        (DeadlineError("at unix:/secret"), "DEADLINE_EXCEEDED", 504),
        (BackPressureError("at unix:/secret"), "RESOURCE_EXHAUSTED", 429),
        (ReplicaLostError("at unix:/secret"), "UNAVAILABLE", 503),
        (RequestCancelledError("x"), "CANCELLED", 499),
        (asyncio.CancelledError(), "CANCELLED", 499),
        # The mistakes of the user's code are not those of its clients.
        (SignatureError("secret"), "INTERNAL", 500),
        (InvalidResultError("secret"), "INTERNAL", 500),
        (RemoteError("secret", "secret", "secret"), "INTERNAL", 500),
        (ValueError("secret"), "INTERNAL", 500),
        (SystemExit("secret"), "INTERNAL", 500),
    ],
)
def test_errors_have_a_status_and_keep_their_words(
    error: BaseException, name: str, http: int
) -> None:
    """All of them name the request."""
    status = status_of(error, "r-1")
    assert (name_of(status), http_status(status)) == (name, http)
    assert "secret" not in str(status)
    info = error_details_pb2.RequestInfo()
    assert status.details[-1].Unpack(info) and info.request_id == "r-1"


@pytest.mark.parametrize(
    ("error", "name", "http"),
    [
        (raised(grpc_status="NOT_FOUND"), "NOT_FOUND", 404),
        (raised(grpc_status=grpc.StatusCode.ABORTED), "ABORTED", 409),
        (raised(http_status=404), "NOT_FOUND", 404),
        (raised(http_status=418), "FAILED_PRECONDITION", 418),
        (raised(http_status=507), "INTERNAL", 507),
        (raised(grpc_status="UNAVAILABLE", http_status=502), "UNAVAILABLE", 502),
        # Declared, but not so that it could be.
        (raised(grpc_status="OK"), "UNKNOWN", 500),
        (raised(grpc_status="NO_SUCH"), "UNKNOWN", 500),
        (raised(http_status=200), "UNKNOWN", 500),
    ],
)
def test_what_a_class_declares_is_told_with_its_words(
    error: Exception, name: str, http: int
) -> None:
    """Whichever of the two it declares."""
    status = status_of(error, "r-1")
    assert (name_of(status), http_status(status), status.message) == (name, http, "its own words")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info) and info.reason == "Declared"


def test_a_status_that_comes_from_a_replica_is_passed_on() -> None:
    """As it was made there."""
    made = status_of(raised(grpc_status="NOT_FOUND"), "r-1")
    assert status_of(StatusError(made.SerializeToString()), "r-2") == made


def test_words_that_cannot_be_had_are_left_out() -> None:
    """The exception's name is all that is left."""

    class Mute(Exception):
        grpc_status = "ABORTED"

        def __str__(self) -> str:
            raise ValueError

    assert status_of(Mute(), "").message == "Mute"


@pytest.mark.parametrize(
    "error",
    [
        raised(grpc_status="NOT_FOUND", __str__=lambda _: "ñ" * 100_000),
        raised(grpc_status="NOT_FOUND", __str__=lambda _: "\ud800"),
        InvalidValueError("x" * 100_000, [("f" * 1000, "r" * 1000)] * 1000),
    ],
)
def test_a_status_fits_into_the_headers_of_a_client(error: Exception) -> None:
    """Of which many take no more than 8 KB."""
    status = status_of(error, "r" * 128)
    [(_, data), *_] = trailers(status)
    assert len(data) < 5000 and len(status.message.encode()) <= 1024


def test_a_full_mesh_says_when_to_come_back() -> None:
    """For clients that retry by themselves."""
    assert ("grpc-retry-pushback-ms", "100") in trailers(status_of(BackPressureError("x"), ""))
    assert len(trailers(status_of(MeshError("x"), ""))) == 1
