"""Run an application in a test: in process, over loopback gRPC, or as processes.

The same test runs in all three modes:

    @pytest.mark.parametrize("mode", MODES)
    async def test_adds(mode: Mode) -> None:
        async with run_app(app, mode=mode) as handle:
            assert await handle.remote(3) == 16
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Literal

from meshgen.deploy.folder import MeshFolder
from meshgen.deploy.local import LocalMesh
from meshgen.errors import DeployError
from meshgen.graph import Graph, build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork, MemoryNetwork
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.serve.config import GRPCOptions, HTTPOptions
from meshgen.serve.context import scoped_caller
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import AppSpec, MeshSpec, app_spec, service_specs
from meshgen.tasks.service import task_graph, uses_tasks
from meshgen.typed.published import exposed_names, published, read_typed

Mode = Literal["in-process", "loopback", "processes"]
MODES: tuple[Mode, ...] = ("in-process", "loopback", "processes")


@asynccontextmanager
async def run_app(
    app: Application, *, mode: Mode = "in-process", name: str = "default", tasks: bool = False
) -> AsyncIterator[DeploymentHandle]:
    """Run an application for the length of a block; gives its ingress's handle.

    Within the block, `serve.get_app_handle`, `serve.get_deployment_handle` and handles that calls
    return find this application.

    Raises:
        BuildError: The graph cannot become services.
        Exception: What a constructor raises, in this process.
        DeployError: A constructor ended its process, or failed in one; carries its traceback.
    """
    graphs = _graphs(app, name, tasks)
    async with AsyncExitStack() as stack:
        if mode == "processes":
            caller = await _processes(graphs, stack)
        else:
            caller, _ = await _same_process(graphs, stack, over_grpc=mode == "loopback")
        stack.enter_context(_calling_by(caller))
        yield DeploymentHandle(graphs[-1].ingress.stub, caller=caller)


@asynccontextmanager
async def run_http(
    app: Application, *, mode: Mode = "in-process", name: str = "default", tasks: bool = False
) -> AsyncIterator[str]:
    """Run an application with a gateway for the length of a block; gives its URL."""
    graphs = _graphs(app, name, tasks)
    async with AsyncExitStack() as stack:
        if mode == "processes":
            mesh = await _local_mesh(graphs, stack, route_prefix="/")
            assert mesh.http_address is not None
            yield mesh.http_address
        else:
            caller, folder = await _same_process(graphs, stack, over_grpc=mode == "loopback")
            yield await _gateway(caller, folder, stack)


@asynccontextmanager
async def run_grpc(
    app: Application, *, mode: Mode = "in-process", name: str = "default"
) -> AsyncIterator[str]:
    """Run an application with a gateway for the length of a block; gives its gRPC address."""
    graphs = _graphs(app, name, False)
    async with AsyncExitStack() as stack:
        if mode == "processes":
            mesh = await _local_mesh(graphs, stack, route_prefix="/")
            assert mesh.grpc_address is not None
            yield mesh.grpc_address
        else:
            caller, folder = await _same_process(graphs, stack, over_grpc=mode == "loopback")
            yield await _edge(caller, folder, stack)


def _graphs(app: Application, name: str, tasks: bool) -> list[Graph]:
    """The application, after the task service if it needs one."""
    graph = build_graph(app, app=name)
    return [task_graph(), graph] if tasks or uses_tasks(graph) else [graph]


@contextmanager
def _calling_by(caller: MeshCaller) -> Iterator[None]:
    before = scoped_caller.get()
    scoped_caller.set(caller)
    try:
        yield
    finally:
        # Not by a token: a fixture's end may run in another context than its beginning.
        scoped_caller.set(before)


async def _processes(graphs: Sequence[Graph], stack: AsyncExitStack) -> MeshCaller:
    mesh = await _local_mesh(graphs, stack, route_prefix=None)
    network = GrpcNetwork(template=mesh.folder.resolver, name="test")
    return await stack.enter_async_context(MeshCaller(MeshFile(mesh.folder.mesh_file), network))


async def _local_mesh(
    graphs: Sequence[Graph], stack: AsyncExitStack, *, route_prefix: str | None
) -> LocalMesh:
    mesh = LocalMesh(HTTPOptions(port=0), _print_line, GRPCOptions(port=0))
    stack.push_async_callback(mesh.close)
    if len(graphs) > 1:
        await mesh.start_tasks()
    await mesh.deploy(graphs[-1], route_prefix)
    return mesh


def _print_line(name: str, line: str, is_error: bool) -> None:
    # Through sys.stderr as it is now, which is where a test runner captures.
    print(f"[{name}] {line}", file=sys.stderr)


async def _same_process(
    graphs: Sequence[Graph], stack: AsyncExitStack, *, over_grpc: bool
) -> tuple[MeshCaller, MeshFolder]:
    """All replicas on this loop, callees first."""
    folder = MeshFolder()
    stack.callback(folder.remove)
    routes = {graph.app: "/" if graph is graphs[-1] else None for graph in graphs}
    apps = {graph.app: _app(graph, routes[graph.app]) for graph in graphs}
    folder.write_mesh(MeshSpec(apps=apps))
    memory = MemoryNetwork()
    network = GrpcNetwork(template=folder.resolver, name="test") if over_grpc else memory
    # Left in this order: replicas take their leave while calls can still be made.
    caller = MeshCaller(MeshFile(folder.mesh_file), network)
    stack.push_async_exit(caller)
    for spec in [spec for graph in graphs for spec in service_specs(graph)]:
        for index in range(spec.options.num_replicas):
            replica = Replica(spec, caller, str(index))
            # In a task, so that the replica's context stays there.
            await asyncio.create_task(_construct(replica, caller))
            stack.push_async_callback(replica.close)
            if over_grpc:
                listen = f"unix:{folder.socket(spec.stub, str(index))}"
                await stack.enter_async_context(serving(replica, listen, None))
            else:
                await stack.enter_async_context(memory.hosting(replica))
            stack.push_async_callback(replica.drain)
    return caller, folder


def _app(graph: Graph, route_prefix: str | None) -> AppSpec:
    typed = read_typed(graph, exposed_names(graph, route_prefix))
    return published(app_spec(graph, route_prefix), typed)


async def _construct(replica: Replica, caller: MeshCaller) -> None:
    try:
        await replica.start(caller.find)
    except (SystemExit, KeyboardInterrupt) as exc:  # it would end the event loop
        raise DeployError(
            f"{replica.stub.id.name} could not be constructed:\n{format_user_traceback(exc)}"
        ) from exc


async def _edge(caller: MeshCaller, folder: MeshFolder, stack: AsyncExitStack) -> str:
    """A real gRPC server on this loop."""
    from meshgen.runtime.edgeserver import serving_edge
    from meshgen.runtime.edgetable import CurrentTable
    from meshgen.runtime.reflection import reflected

    descriptors = reflected(CurrentTable(caller.mesh), folder.mesh_file)
    edge = await stack.enter_async_context(serving_edge(descriptors, caller, "127.0.0.1", 0))
    return f"127.0.0.1:{edge.port}"


async def _gateway(caller: MeshCaller, folder: MeshFolder, stack: AsyncExitStack) -> str:
    """A real HTTP server on this loop."""
    from meshgen.listener import bind
    from meshgen.runtime.edgedescriptors import Descriptors
    from meshgen.runtime.edgetable import CurrentTable
    from meshgen.runtime.httpserver import make_server
    from meshgen.runtime.typedweb import TypedWeb
    from meshgen.runtime.webgateway import make_app

    listener = stack.enter_context(bind("127.0.0.1", 0))
    descriptors = Descriptors(CurrentTable(caller.mesh), folder.mesh_file)
    typed = TypedWeb(descriptors, caller)
    server = make_server(make_app(caller.mesh, caller, typed))
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def stop() -> None:
        server.should_exit = True
        await task

    stack.push_async_callback(stop)
    # It listens already: who connects before the server runs is answered as soon as it does.
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
