"""The gRPC server of the gateway: typed services, health and reflection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc.aio

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import DeployError
from meshgen.listener import grpc_advice
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.edge import Edge
from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgehealth import EdgeHealth
from meshgen.runtime.poller import free_poller
from meshgen.runtime.protection import UNGUARDED, Protection
from meshgen.runtime.reflection import reflection_handlers
from meshgen.runtime.rpcguard import GuardedHandlers
from meshgen.tlsfiles import TlsFiles

# How long RPCs that run may go on once the gateway is told to stop, in seconds.
_GRACE_SECONDS = 20.0


class EdgeServer:
    """Serves since it was made; `stop` ends that."""

    def __init__(self, server: grpc.aio.Server, health: EdgeHealth, port: int) -> None:
        self.port = port
        self._server = server
        self._health = health

    async def stop(self) -> None:
        """Let what runs end, within a bound. Twice is fine."""
        self._health.leave()
        await self._server.stop(grace=_GRACE_SECONDS)


@asynccontextmanager
async def serving_edge(
    descriptors: Descriptors,
    caller: MeshCaller,
    host: str,
    port: int,
    protection: Protection = UNGUARDED,
) -> AsyncIterator[EdgeServer]:
    """Serve the typed services of a mesh for the length of a block.

    Raises:
        DeployError: The address cannot be listened on.
    """
    table, limits = descriptors.table, protection.limits
    server = grpc.aio.server(options=_options(limits))
    health = EdgeHealth(table)
    handlers: tuple[grpc.GenericRpcHandler, ...] = (
        health.handler(),
        *reflection_handlers(descriptors),
        Edge(table, caller, limits),
    )
    if protection.gate is not None:
        handlers = (GuardedHandlers(protection.gate, handlers),)
    server.add_generic_rpc_handlers(handlers)
    edge = EdgeServer(server, health, _bind(server, host, port, protection.tls))
    await server.start()
    free_poller()
    try:
        yield edge
    finally:
        await edge.stop()


def _options(limits: EdgeLimits) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", limits.request_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        # The supervisor holds the port, so that it stays the gateway's from process to process.
        ("grpc.so_reuseport", 1),
        # Who connects and says nothing, or not what HTTP/2 begins with, is sent away.
        ("grpc.server_handshake_timeout_ms", _milliseconds(limits.head_seconds)),
        # So is who has no call, or comes no further with its headers.
        ("grpc.max_connection_idle_ms", _milliseconds(limits.idle_seconds)),
        # A client that is gone without a word is found, and its calls are cancelled.
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    )


def _milliseconds(seconds: float) -> int:
    return max(1, min(round(seconds * 1000), 2**31 - 1))


def _bind(server: grpc.aio.Server, host: str, port: int, tls: TlsFiles | None) -> int:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound: int = server.add_insecure_port(address)
        else:
            pair = tls.key.read_bytes(), tls.cert.read_bytes()
            bound = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as exc:
        raise DeployError(grpc_advice(host, port, "the address cannot be bound")) from exc
    return bound
