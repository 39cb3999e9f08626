"""A local mesh for the length of a block, and callers that never stop calling it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from meshgen.deploy.local import LocalMesh
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.config import GRPCOptions, HTTPOptions
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.schema import ApplicationStatusOverview

APP = "shop"


@asynccontextmanager
async def local_mesh(
    on_line: Callable[[str, str, bool], None] = lambda *_: None,
) -> AsyncIterator[LocalMesh]:
    """A mesh that is closed at the end, without draining."""
    mesh = LocalMesh(HTTPOptions(port=0), on_line, GRPCOptions(port=0))
    try:
        yield mesh
    finally:
        await mesh.close(at_once=True)


@dataclass
class Constructing:
    """Listens to a mesh for the constructor of `shapes.Stuck`; replicas may say other things."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def on_line(self, name: str, line: str, is_error: bool) -> None:
        """Called with each line of the mesh's processes."""
        if line == "constructing":
            self.begun.set()


async def deploy(mesh: LocalMesh, app: Application, *, prefix: str | None = None) -> None:
    """Deploy the test's application."""
    async with asyncio.timeout(60):
        await mesh.deploy(build_graph(app, app=APP), prefix)


def overview(mesh: LocalMesh) -> ApplicationStatusOverview:
    """How the test's application is."""
    return mesh.status().applications[APP]


def pids(mesh: LocalMesh) -> list[int]:
    """The processes of its replicas."""
    found = [r.pid for d in overview(mesh).deployments.values() for r in d.replicas]
    return [pid for pid in found if pid is not None]


@asynccontextmanager
async def ingress(mesh: LocalMesh) -> AsyncIterator[DeploymentHandle]:
    """A handle of the test's application."""
    network = GrpcNetwork(template=mesh.folder.resolver, name="test")
    async with MeshCaller(MeshFile(mesh.folder.mesh_file), network) as caller:
        yield DeploymentHandle(caller.ingress_of(APP), caller=caller)


@dataclass
class Load:
    """Answers of callers that call again and again; their first error ends the block.

    `answers` are those of calls that began after the last `forget`: one of before may be answered
    by a replica that is gone by now.
    """

    answers: list[str] = field(default_factory=list)
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, once: Callable[[], Awaitable[list[str]]]) -> None:
        """Call for ever."""
        while True:
            answers = self.answers  # as they are now, for whatever comes of it
            answers += await once()
            self._more.set()

    def forget(self) -> None:
        """Count none of the calls that have begun."""
        self.answers = []

    async def until_answered(self, *expected: str) -> None:
        """Wait until the next answers are all of these."""
        async with asyncio.timeout(60):
            self.forget()
            while not set(expected) <= set(self.answers):
                self._more.clear()
                await self._more.wait()


@asynccontextmanager
async def under_load(*callers: Callable[[], Awaitable[list[str]]]) -> AsyncIterator[Load]:
    """Two of each of these callers at work."""
    load = Load()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(load.call(once)) for once in callers for _ in range(2)]
        yield load
        for task in tasks:
            task.cancel()
