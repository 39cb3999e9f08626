"""Real replicas for tests, in this process: over memory or loopback gRPC."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from meshgen import serve
from meshgen.arguments import Arguments
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.certificates import CertificateSource
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork, MemoryNetwork, Network
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.serve.handle import DeploymentHandle
from meshgen.settings import socket_folder
from meshgen.spec import AppSpec, MeshSpec, ServiceSpec, Target
from meshgen.stub import DeploymentStub

Over = Literal["memory", "loopback"]
OVER: tuple[Over, ...] = ("memory", "loopback")


@dataclass(frozen=True, kw_only=True)
class Here(Target):
    """The test's own class or function, closures over the test's variables included."""

    found: Any = None

    def load(self) -> Callable[..., Any]:
        """The very same object."""
        target: Callable[..., Any] = self.found
        return target


def spec_of(target: Any, **options: Any) -> ServiceSpec:
    """The spec of one deployment without constructor arguments."""
    deployment: Any = serve.deployment(**options)(target)
    stub = build_graph(deployment.bind()).ingress.stub
    return ServiceSpec(
        stub=stub,
        target=Here(found=target),
        arguments=Arguments(json='{"args": [], "kwargs": {}}'),
        options=deployment.deployment_options,
    )


@dataclass(kw_only=True)
class Mesh:
    """One deployment's replicas and a handle to call them by."""

    caller: MeshCaller
    stub: DeploymentStub
    replicas: list[Replica] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    @property
    def handle(self) -> DeploymentHandle:
        """Calls the deployment from this loop."""
        return DeploymentHandle(self.stub, caller=self.caller)

    @property
    def stream(self) -> DeploymentHandle:
        """The same for its generators."""
        return self.handle.options(stream=True)


async def started(spec: ServiceSpec, caller: MeshCaller, replica_id: str = "0") -> Replica:
    """A replica that takes calls; its context stays in a task of its own."""
    replica = Replica(spec, caller, replica_id)
    await asyncio.create_task(replica.start(caller.find))
    return replica


@contextmanager
def short_folder() -> Iterator[Path]:
    """A folder whose path leaves room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="meshgen-") as folder:
        yield Path(folder)


class _Stubs(MeshFile):
    """The mesh of one deployment, without a file."""

    def __init__(self, *stubs: DeploymentStub) -> None:
        super().__init__(Path("no mesh.json here"))
        apps = [
            AppSpec(name=s.id.app, ingress=s.id.name, route_prefix=None, stubs={s.id.name: s})
            for s in stubs
        ]
        self._mesh = MeshSpec(apps={app.name: app for app in apps})

    def current(self) -> MeshSpec:
        """Always the same."""
        return self._mesh


def mesh_caller(network: Network, *stubs: DeploymentStub) -> MeshCaller:
    """A caller that is given its stubs, so that it never reads a mesh file."""
    return MeshCaller(_Stubs(*stubs), network)


@asynccontextmanager
async def lone_replica(target: Any, **options: Any) -> AsyncIterator[Replica]:
    """One replica without any way to it but its methods."""
    async with mesh_caller(MemoryNetwork()) as caller:
        replica = await started(spec_of(target, **options), caller)
        replica.last_questions = 0.01
        try:
            yield replica
        finally:
            await replica.close()


@asynccontextmanager
async def run_here(
    target: Any, *, over: Over = "memory", replicas: int = 1, **options: Any
) -> AsyncIterator[Mesh]:
    """A deployment for the length of a block; its replicas drain before they go."""
    spec = spec_of(target, **options)
    async with AsyncExitStack() as stack:
        if over == "memory":
            memory = MemoryNetwork()
            caller = await stack.enter_async_context(mesh_caller(memory, spec.stub))
            mesh = Mesh(caller=caller, stub=spec.stub)
            memory.replicas[spec.stub.id] = mesh.replicas
        else:
            root = stack.enter_context(short_folder())
            network = GrpcNetwork(template=f"unix:{root}", name="test")
            caller = await stack.enter_async_context(mesh_caller(network, spec.stub))
            mesh = Mesh(caller=caller, stub=spec.stub)
            folder = socket_folder(root, spec.stub.id.app, spec.stub.service)
            folder.mkdir(parents=True)
        for index in range(replicas):
            replica = await started(spec, caller, str(index))
            stack.push_async_callback(replica.close)
            mesh.replicas.append(replica)
            if over == "loopback":
                listen = f"unix:{folder / f'{index}.sock'}"
                mesh.addresses.append(
                    await stack.enter_async_context(serving(replica, listen, None))
                )
            stack.push_async_callback(replica.drain)
        yield mesh


@asynccontextmanager
async def over_tcp(
    replica: Replica,
    *,
    server: CertificateSource | None = None,
    client: CertificateSource | None = None,
) -> AsyncIterator[Mesh]:
    """A replica at a free port of the loopback interface, and a caller that knows it by DNS."""
    async with serving(replica, "127.0.0.1:0", server) as address:
        network = GrpcNetwork(template=f"dns:{address}", name="test", certificates=client)
        async with mesh_caller(network, replica.stub) as caller:
            yield Mesh(caller=caller, stub=replica.stub, replicas=[replica], addresses=[address])


async def settle(turns: int = 10) -> None:
    """Let everything that is ready on this loop run."""
    for _ in range(turns):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return as soon as `condition` holds; it fails the test if that takes too long.

    Of the time in which this process itself stood still only a moment counts.
    """
    loop, waited = asyncio.get_running_loop(), 0.0
    while not condition():
        if waited >= seconds:
            raise TimeoutError(f"it does not hold after {seconds:g} s")
        began = loop.time()
        await asyncio.sleep(0.001)
        waited += min(loop.time() - began, 0.05)
