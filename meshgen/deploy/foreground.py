"""A mesh in the foreground of a terminal: `meshgen run`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from meshgen.deploy.console import print_line
from meshgen.deploy.local import LocalMesh
from meshgen.graph import Graph
from meshgen.serve.config import NO_GRPC, OPEN, EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.tasks.service import uses_tasks


async def run_in_foreground(  # noqa: PLR0913 - what runs, where, and for whom
    graph: Graph,
    http: HTTPOptions,
    route_prefix: str | None,
    on_ready: Callable[[LocalMesh], None],
    *,
    grpc: GRPCOptions = NO_GRPC,
    edge: EdgeOptions = OPEN,
    tasks: bool = False,
) -> None:
    """Run an application until Ctrl-C or SIGTERM; a second one stops it without draining.

    With the task service if the application declares tasks, or with `tasks`.

    Raises:
        DeployError: A constructor failed, or the HTTP port is taken.
        OptionError: The route cannot be served, or not with these options.
    """
    signals = _Signals()
    mesh = LocalMesh(http, print_line, grpc, edge)
    try:
        deploying = asyncio.create_task(_deploy(mesh, graph, route_prefix, tasks))
        await signals.first_of(deploying)
        if deploying.done():
            deploying.result()
            on_ready(mesh)
            await signals.stop.wait()
        else:
            deploying.cancel()
            await asyncio.gather(deploying, return_exceptions=True)
    finally:
        await _close(mesh, signals)


async def _deploy(mesh: LocalMesh, graph: Graph, route_prefix: str | None, tasks: bool) -> None:
    if tasks or uses_tasks(graph):
        await mesh.start_tasks()
    await mesh.deploy(graph, route_prefix)


class _Signals:
    """SIGINT and SIGTERM: the first asks to stop, the second to stop at once."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        if self.stop.is_set():
            self.at_once.set()
        self.stop.set()

    async def first_of(self, other: asyncio.Task[None]) -> None:
        """Wait for `other` or a signal, whichever comes first."""
        stopping = asyncio.create_task(self.stop.wait())
        either: set[asyncio.Task[Any]] = {other, stopping}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()


async def _close(mesh: LocalMesh, signals: _Signals) -> None:
    closing = asyncio.create_task(mesh.close())
    hurry = asyncio.create_task(signals.at_once.wait())
    either: set[asyncio.Task[Any]] = {closing, hurry}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not closing.done():
        mesh.kill()
    hurry.cancel()
    await closing
