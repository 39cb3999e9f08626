"""A mesh as processes of this machine: its applications and its gateway."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable

from meshgen.deploy.application import LocalApplication, Nursery
from meshgen.deploy.child import Child, Command
from meshgen.deploy.folder import MeshFolder, child_environment
from meshgen.errors import DeployError, OptionError
from meshgen.graph import Graph
from meshgen.listener import bind
from meshgen.serve.config import HTTPOptions
from meshgen.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    ReplicaState,
    ServeStatus,
)
from meshgen.spec import MeshSpec, app_spec, service_specs
from meshgen.tasks.home import TASKS
from meshgen.tasks.service import local_replicas, task_graph

_GATEWAY = "meshgen.runtime.gateway"


class LocalMesh:
    """Owns a folder, a listening socket, and every process of a mesh on this machine."""

    def __init__(self, http: HTTPOptions, on_line: Callable[[str, str, bool], None]) -> None:
        self.folder = MeshFolder()
        self._http = http
        self._apps: dict[str, LocalApplication] = {}
        self._failed: dict[str, ApplicationStatusOverview] = {}
        self._gateway: Child | None = None
        self._listener: socket.socket | None = None
        self._lifeline = os.pipe()
        self._changed = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()
        self._next_id = 0
        self._starting_tasks = asyncio.Lock()
        self._on_line = on_line
        self._nursery = Nursery(
            folder=self.folder,
            lifeline_fd=self._lifeline[0],
            on_line=on_line,
            on_change=self._note_change,
        )
        self._write_mesh()

    @property
    def http_address(self) -> str | None:
        """Where the gateway serves, as `http://HOST:PORT`."""
        if self._listener is None:
            return None
        host, port = self._listener.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _note_change(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _write_mesh(self) -> None:
        self.folder.write_mesh(MeshSpec(apps={name: a.spec for name, a in self._apps.items()}))

    async def deploy(self, graph: Graph, route_prefix: str | None) -> None:
        """Start an application, or put it in the place of the one of its name.

        The old one goes when the new one runs; if that fails, it stays.

        Raises:
            OptionError: The route cannot be served.
            SerializationError: A class or argument cannot be pickled.
            DeployError: A constructor failed, or the HTTP port is taken.
        """
        self._check_route(graph.app, route_prefix)
        services = service_specs(graph)
        if route_prefix is not None:
            self._listen()
        new = self._nursery.make(app_spec(graph, route_prefix), services, self._next_id)
        self._next_id += max(service.options.num_replicas for service in services)
        old = self._apps.get(graph.app)
        self._apps[graph.app] = new
        self._write_mesh()
        try:
            await self._start(new)
        except BaseException as exc:
            await self._withdraw(new, old, exc)
            raise
        self._failed.pop(graph.app, None)
        if old is not None:
            await old.stop()

    async def start_tasks(self) -> None:
        """Add the task service, unless it is there.

        Raises:
            OptionError: The number of its replicas is none.
            DeployError: It did not start.
        """
        async with self._starting_tasks:
            if TASKS.app not in self._apps:
                await self.deploy(task_graph(local_replicas()), None)

    async def _start(self, app: LocalApplication) -> None:
        app.start()
        if app.spec.route_prefix is not None:
            self._start_gateway()
        await app.until_running(self._changed)
        await self._gateway_running()

    async def _withdraw(
        self, new: LocalApplication, old: LocalApplication | None, error: BaseException
    ) -> None:
        """A deployment failed: what was there before stays."""
        name = new.spec.name
        if old is None:
            del self._apps[name]
        else:
            self._apps[name] = old
        self._write_mesh()
        await new.stop(at_once=True)
        new.status, new.message = ApplicationStatus.DEPLOY_FAILED, str(error)
        self._failed[name] = new.overview()

    def _check_route(self, app: str, prefix: str | None) -> None:
        if prefix is None:
            return
        if not prefix.startswith("/"):
            raise OptionError(f"invalid route_prefix {prefix!r}: it must start with '/'")
        if prefix != "/" and prefix.endswith("/"):
            raise OptionError(f"invalid route_prefix {prefix!r}: it must not end with '/'")
        if "{" in prefix or "}" in prefix:
            raise OptionError(f"invalid route_prefix {prefix!r}: it must not have wildcards")
        for name, other in self._apps.items():
            if name != app and other.spec.route_prefix == prefix:
                raise OptionError(
                    f"route_prefix {prefix!r} is used by application {name!r}: give {app!r} another"
                )

    def _listen(self) -> None:
        """Take the HTTP port before any process starts.

        Raises:
            DeployError: It is taken.
        """
        if self._listener is None:
            self._listener = bind(self._http.host, self._http.port)

    def _start_gateway(self) -> None:
        if self._gateway is not None:
            return
        assert self._listener is not None
        descriptor = self._listener.fileno()
        settings = self.folder.settings(http_fd=descriptor, lifeline_fd=self._lifeline[0])
        self._gateway = Child(
            Command(
                name="gateway",
                module=_GATEWAY,
                environment=child_environment(settings, {}),
                descriptors=(descriptor, self._lifeline[0]),
            ),
            self._on_line,
            self._note_change,
        )
        self._gateway.start()

    async def _gateway_running(self) -> None:
        if self._gateway is None:
            return
        async with self._changed:
            while self._gateway.state is not ReplicaState.RUNNING:
                if self._gateway.state is ReplicaState.FAILED:
                    raise DeployError(f"the gateway did not start: {self._gateway.last_error}")
                await self._changed.wait()

    async def delete(self, name: str) -> None:
        """Stop an application; nothing happens if there is none of that name."""
        self._failed.pop(name, None)
        app = self._apps.get(name)
        if app is None:
            return
        app.status = ApplicationStatus.DELETING
        await app.stop()
        self._apps.pop(name, None)
        self._write_mesh()

    async def close(self, *, at_once: bool = False) -> None:
        """Stop the gateway, then every application, and remove the folder."""
        if self._gateway is not None:
            await self._gateway.stop(at_once=at_once)
        tasks = self._apps.pop(TASKS.app, None)
        await asyncio.gather(*(app.stop(at_once=at_once) for app in self._apps.values()))
        if tasks is not None:
            # Nobody waits for them any more.
            await tasks.stop(at_once=True)
        for descriptor in self._lifeline:
            os.close(descriptor)
        if self._listener is not None:
            self._listener.close()
        self.folder.remove()

    def kill(self) -> None:
        """End every process at once; `close` does the rest."""
        for app in self._apps.values():
            for child in app.children():
                child.kill()
        if self._gateway is not None:
            self._gateway.kill()

    def status(self) -> ServeStatus:
        """How everything is."""
        running = {name: app.overview() for name, app in self._apps.items()}
        gateway = self._gateway
        healthy = gateway is not None and gateway.state is ReplicaState.RUNNING
        return ServeStatus(
            applications={**self._failed, **running},
            proxies={} if gateway is None else {"gateway": "HEALTHY" if healthy else "UNHEALTHY"},
            http_address=self.http_address,
        )
