"""The sockets that the mesh is reached at from outside."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

from meshgen.errors import DeployError

_BACKLOG = 2048


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        DeployError: The port is taken, or the host is none of this machine's.
    """
    try:
        # With its protocol named, or asyncio would not turn off Nagle's algorithm for connections
        # accepted here, and every answer would wait 40 ms for the client's acknowledgement.
        *kind, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        return _listen(socket.socket(*kind), address)
    except OSError as exc:
        raise DeployError(
            f"cannot serve HTTP on {host}:{port}: {exc.strerror or exc}. Free the port or choose "
            "another (`meshgen run --port N`, serve.start(http_options=HTTPOptions(port=N)), or "
            "HTTP_PORT=N in Compose)"
        ) from exc


def reserve(host: str, port: int) -> socket.socket:
    """A socket that holds a port for gRPC, without listening; port 0 is any free one.

    Whoever binds it with SO_REUSEPORT, as processes of the same user can, gets all connections.

    Raises:
        DeployError: The port is taken, or the host is none of this machine's.
    """
    try:
        *kind, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        if port:  # another mesh that serves there would share the port with this one
            _listen(socket.socket(*kind), address).close()
        return _held(socket.socket(*kind), address)
    except OSError as exc:
        raise DeployError(grpc_advice(host, port, exc.strerror or str(exc))) from exc


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there; what is no address does not count."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def grpc_advice(host: str, port: int, reason: str) -> str:
    """What to say when gRPC cannot be served."""
    return (
        f"cannot serve gRPC on {host}:{port}: {reason}. Free the port or choose another "
        '(`meshgen run --grpc-port N`, serve.start(grpc_options={"port": N}), or GRPC_PORT=N in '
        "Compose)"
    )


def _held(holder: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind(address)
    except OSError:
        holder.close()
        raise
    return holder


def _listen(listener: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
