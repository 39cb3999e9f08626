"""gRPC channels as a mesh uses them: options, credentials and errors in one place."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import grpc.aio

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    MeshError,
    PermissionDeniedError,
    ProtocolError,
    ReplicaLostError,
    RequestCancelledError,
)
from meshgen.runtime.certificates import CertificateSource
from meshgen.runtime.poller import free_poller

# A peer that does not answer a ping of HTTP/2 is taken for dead: one that is stopped, or cut off
# without a word, is found within the sum of both. gRPC's own threads answer, so code that blocks a
# loop does not count. In milliseconds.
PING_AFTER_MS = 2_000
PING_TIMEOUT_MS = 2_000

OPTIONS = (
    # Nothing relies on gRPC's 4 MB; what is large is cut into chunks anyway.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.keepalive_time_ms", PING_AFTER_MS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.http2.ping_timeout_ms", PING_TIMEOUT_MS),
    # A connection without calls is to be known to be dead before a call needs it.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
)
CLIENT_OPTIONS = (
    *OPTIONS,
    # Addresses of a mesh are never behind the user's web proxy.
    ("grpc.enable_http_proxy", 0),
    # Each channel its own connection: a failed one leaves no back-off to its successor.
    ("grpc.use_local_subchannel_pool", 1),
)
SERVER_OPTIONS = (
    *OPTIONS,
    ("grpc.so_reuseport", 0),
    # The other half of the clients' keepalive: no number of pings is held against them.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 100),
    # Who connects and says nothing, or not what HTTP/2 begins with, is sent away.
    ("grpc.server_handshake_timeout_ms", 10_000),
)

_FROM_STATUS: dict[grpc.StatusCode, type[MeshError]] = {
    grpc.StatusCode.UNAVAILABLE: ReplicaLostError,
    grpc.StatusCode.CANCELLED: RequestCancelledError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: BackPressureError,
    grpc.StatusCode.FAILED_PRECONDITION: ProtocolError,
    grpc.StatusCode.NOT_FOUND: ProtocolError,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
}


def open_channel(
    address: str, service: str, certificates: CertificateSource | None
) -> grpc.aio.Channel:
    """A channel to one replica; with certificates it must prove to be `service`."""
    channel = _open_channel(address, service, certificates)
    free_poller()
    return channel


def _open_channel(
    address: str, service: str, certificates: CertificateSource | None
) -> grpc.aio.Channel:
    if certificates is None:
        return grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS)
    own = certificates.current()
    credentials = grpc.ssl_channel_credentials(own.ca, own.key, own.cert)
    options = (*CLIENT_OPTIONS, ("grpc.ssl_target_name_override", service))
    return grpc.aio.secure_channel(address, credentials, options=options)


@contextmanager
def translate_rpc_errors(peer: str) -> Iterator[None]:
    """Turn gRPC's errors into ours, naming the peer."""
    try:
        yield
    except grpc.aio.AioRpcError as exc:
        error = _FROM_STATUS.get(exc.code(), MeshError)
        raise error(f"the connection to {peer} failed: {exc.details()}") from exc
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Nobody cancelled this task: its channel was closed while it waited.
        raise ReplicaLostError(f"the connection to {peer} was closed") from exc
