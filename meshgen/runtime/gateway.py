"""The gateway process: joins the mesh and serves its applications to those outside of it."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import MeshError
from meshgen.listener import bind
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgetable import CurrentTable
from meshgen.runtime.httpserver import serve
from meshgen.runtime.process import open_caller, run_until_done
from meshgen.runtime.protection import Protection, protection_of
from meshgen.runtime.reports import Reports
from meshgen.runtime.typedweb import TypedWeb
from meshgen.runtime.webgateway import make_app
from meshgen.settings import Settings

if TYPE_CHECKING:
    from meshgen.runtime.edgeserver import EdgeServer


def listen(settings: Settings) -> socket.socket:
    """The socket that the supervisor handed over, or one bound here.

    Raises:
        DeployError: The address cannot be listened on.
    """
    if settings.http_fd >= 0:
        return socket.socket(fileno=settings.http_fd)
    return bind(settings.http_host, settings.http_port)


async def serve_http(settings: Settings, protection: Protection) -> int:
    """Join the mesh and serve its applications, over HTTP and where that is asked for over gRPC,
    until told to stop; the exit status.

    Raises:
        DeployError: The address cannot be listened on.
    """
    with listen(settings) as listener:
        async with open_caller(settings) as caller, AsyncExitStack() as stack:
            descriptors, edge = await _grpc(settings, caller, protection, stack)
            facts = {} if edge is None else {"grpc_port": edge.port}
            # The socket listens already: who connects from now on is answered.
            port = listener.getsockname()[1]
            Reports(settings.report_fd).tell(phase="serving", port=port, **facts)
            app = make_app(caller.mesh, caller, TypedWeb(descriptors, caller), protection)
            # Both end at the same time, so that neither waits for the other's slowest request.
            stops = [] if edge is None else [edge.stop]
            await serve(app, listener, protection, *stops)
    return 0


async def _grpc(
    settings: Settings, caller: MeshCaller, protection: Protection, stack: AsyncExitStack
) -> tuple[Descriptors, EdgeServer | None]:
    """Serve gRPC, if that is asked for; with what HTTP and gRPC tell of the mesh's messages."""
    table = CurrentTable(caller.mesh)
    if settings.grpc_port < 0:
        return Descriptors(table, settings.mesh_file), None
    # Imported where somebody asks for it.
    from meshgen.runtime.edgeserver import serving_edge
    from meshgen.runtime.reflection import reflected

    descriptors = reflected(table, settings.mesh_file)
    where = settings.grpc_host, settings.grpc_port
    edge = serving_edge(descriptors, caller, *where, protection)
    return descriptors, await stack.enter_async_context(edge)


def main() -> None:
    """Run the gateway that the environment describes; exit 1 if it cannot serve."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # It means replicas, to which it brings a new user_config; sent to a whole mesh it harms nobody.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        settings = Settings.from_environment()
    except MeshError as exc:
        sys.exit(f"meshgen: {exc}")
    try:
        protection = protection_of(settings, EdgeLimits.from_environment())
        run_until_done(serve_http(settings, protection))
    except MeshError as exc:
        Reports(settings.report_fd).tell(phase="failed", error=str(exc))
        sys.exit(f"meshgen: {exc}")


if __name__ == "__main__":
    main()
