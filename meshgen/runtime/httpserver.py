"""Serve an ASGI application on a socket until the process is told to stop."""

from __future__ import annotations

import signal
import socket
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from meshgen.errors import DeployError

# How long requests that run may go on once the process is told to stop.
_GRACE_SECONDS = 20
_KEEP_ALIVE_SECONDS = 90
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
            f"cannot serve HTTP on {host}:{port}: {exc.strerror or exc}; free the port or choose "
            "another (`meshgen run --port`, or MESHGEN_HTTP_PORT)"
        ) from exc


def _listen(listener: socket.socket, address: tuple[Any, ...]) -> socket.socket:
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def make_server(app: ASGIApp) -> uvicorn.Server:
    """The server; `should_exit` stops it once the requests that run have their answers."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    return uvicorn.Server(config)


async def serve(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, within a bound."""
    server = make_server(app)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn passes the signal on to these once it has shut down; without them the process would
    # end by the signal instead of with status 0.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    await server.serve(sockets=[listener])
