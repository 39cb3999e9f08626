"""The gRPC server of the gateway, in plain text: typed services, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio

from meshgen.errors import DeployError
from meshgen.listener import grpc_advice
from meshgen.runtime.edge import Edge, TypedCaller
from meshgen.runtime.edgehealth import EdgeHealth
from meshgen.runtime.edgetable import CurrentTable
from meshgen.runtime.reflection import reflected, reflection_handlers
from meshgen.spec import MeshSpec

# The largest request, in bytes: a larger one is refused before it is read.
MAX_REQUEST = 64 << 20
# How long RPCs that run may go on once the gateway is told to stop, in seconds.
_GRACE_SECONDS = 20.0

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_REQUEST),
    ("grpc.max_send_message_length", -1),
    # The supervisor holds the port, so that it stays the gateway's from process to process.
    ("grpc.so_reuseport", 1),
    # Who connects and says nothing, or not what HTTP/2 begins with, is sent away.
    ("grpc.server_handshake_timeout_ms", 10_000),
    # A client that is gone without a word is found, and its calls are cancelled.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


@asynccontextmanager
async def serving_edge(
    mesh: Callable[[], MeshSpec], mesh_file: Path, caller: TypedCaller, host: str, port: int
) -> AsyncIterator[int]:
    """Serve the mesh's typed services for the length of a block; gives the port.

    Raises:
        DeployError: The address cannot be listened on.
    """
    table = CurrentTable(mesh)
    server = grpc.aio.server(options=_OPTIONS)
    health = EdgeHealth(table)
    handlers = (
        health.handler(),
        *reflection_handlers(reflected(table, mesh_file)),
        Edge(table, caller),
    )
    server.add_generic_rpc_handlers(handlers)
    name = f"[{host}]" if ":" in host else host
    try:
        bound = server.add_insecure_port(f"{name}:{port}")
    except RuntimeError as exc:
        raise DeployError(grpc_advice(host, port, "the address cannot be bound")) from exc
    await server.start()
    try:
        yield bound
    finally:
        health.leave()
        await server.stop(grace=_GRACE_SECONDS)
