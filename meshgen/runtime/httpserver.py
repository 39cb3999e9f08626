"""Serve an ASGI application on a socket until the process is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from meshgen.runtime.httpprotocol import LimitedProtocol
from meshgen.runtime.protection import UNGUARDED, Protection

# How long requests that run may go on once the process is told to stop.
_GRACE_SECONDS = 20


async def _nothing() -> None:
    pass


class _Server(uvicorn.Server):
    """One that lets something else end while it does."""

    def __init__(self, config: uvicorn.Config, stop_too: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._stop_too = stop_too

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finish what runs."""
        await asyncio.gather(super().shutdown(sockets), self._stop_too())


def make_server(
    app: ASGIApp,
    protection: Protection = UNGUARDED,
    stop_too: Callable[[], Awaitable[None]] = _nothing,
) -> uvicorn.Server:
    """The server; `should_exit` stops it once the requests that run have their answers.

    `stop_too` is called, and waited for, when it stops.
    """
    limits, tls = protection.limits, protection.tls
    protocol: Any = partial(LimitedProtocol, limits=limits)
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="asyncio",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=limits.header_bytes,
        timeout_keep_alive=limits.idle_seconds,  # type: ignore[arg-type]  # any number does
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=None if tls is None else tls.cert,
        ssl_keyfile=None if tls is None else tls.key,
    )
    return _Server(config, stop_too)


async def serve(
    app: ASGIApp,
    listener: socket.socket,
    protection: Protection,
    stop_too: Callable[[], Awaitable[None]] = _nothing,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what runs, within a bound."""
    server = make_server(app, protection, stop_too)

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn passes the signal on to these once it has shut down; without them the process would
    # end by the signal instead of with status 0.
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    await server.serve(sockets=[listener])
