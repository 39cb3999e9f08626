"""Serve an ASGI application on a socket until the process is told to stop."""

from __future__ import annotations

import signal
import socket

import uvicorn
from starlette.types import ASGIApp

# How long requests that run may go on once the process is told to stop.
_GRACE_SECONDS = 20
_KEEP_ALIVE_SECONDS = 90


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
