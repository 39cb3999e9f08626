"""A mesh as processes of this machine: its applications and its gateway."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from meshgen.build.lookups import with_lookups
from meshgen.deploy.application import LocalApplication
from meshgen.deploy.codestamp import code_stamp
from meshgen.deploy.edgefiles import check_edge
from meshgen.deploy.folder import MeshFolder
from meshgen.deploy.frontdoor import FrontDoor
from meshgen.deploy.generation import Generation, Nursery, until_running
from meshgen.deploy.reconfiguration import find_reconfiguration
from meshgen.deploy.rollout import Rollout
from meshgen.deploy.routes import check_route
from meshgen.deploy.turns import Turns
from meshgen.graph import Graph
from meshgen.serve.config import NO_GRPC, OPEN, EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.serve.schema import ApplicationStatus, ApplicationStatusOverview, ServeStatus
from meshgen.spec import AppSpec, MeshSpec, ServiceSpec, app_spec, service_specs
from meshgen.tasks.home import TASKS
from meshgen.tasks.service import local_replicas, task_graph
from meshgen.typed.published import exposed_names, published, read_typed, with_hints


class LocalMesh:
    """Owns a folder, a listening socket, and every process of a mesh on this machine."""

    def __init__(
        self,
        http: HTTPOptions,
        on_line: Callable[[str, str, bool], None],
        grpc: GRPCOptions = NO_GRPC,
        edge: EdgeOptions = OPEN,
    ) -> None:
        check_edge(edge)
        self.folder = MeshFolder()
        self._apps: dict[str, LocalApplication] = {}
        self._failed: dict[str, ApplicationStatusOverview] = {}
        self._lifeline: tuple[int, ...] = os.pipe()
        self._changed = asyncio.Condition()
        self._notices: set[asyncio.Task[None]] = set()
        self._next_id = 0
        self._turns = Turns()
        self._starting_tasks = asyncio.Lock()
        self._nursery = Nursery(
            folder=self.folder,
            lifeline_fd=self._lifeline[0],
            on_line=on_line,
            on_change=self._note_change,
        )
        self._door = FrontDoor(http, grpc, self._nursery, edge)
        self._write_mesh()

    @property
    def http_address(self) -> str | None:
        """Where the gateway serves, as `http://HOST:PORT`."""
        return self._door.address

    @property
    def grpc_address(self) -> str | None:
        """Where the gateway serves gRPC, as `HOST:PORT`."""
        return self._door.grpc_address

    @property
    def token_file(self) -> Path | None:
        """Where the tokens are that requests need, if they need any."""
        return self._door.token_file

    def _note_change(self) -> None:
        task = asyncio.get_running_loop().create_task(self._notify())
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _write_mesh(self) -> None:
        """Tell everybody what there is; code of each deploy what that has made."""
        specs = {name: app.spec for name, app in self._apps.items()}
        self.folder.write_mesh(MeshSpec(apps=specs))
        for app in self._apps.values():
            for each in app.generations:
                own = MeshSpec(apps={**specs, each.spec.name: each.spec})
                self.folder.write_mesh(own, each.number)

    async def deploy(self, graph: Graph, route_prefix: str | None) -> None:
        """Start an application, or put it in the place of the one of its name.

        In that case replica by replica, so that no call fails; where nothing but `user_config`s is
        new, the replicas stay and are reconfigured. If a constructor fails, the old ones stay.

        Raises:
            OptionError: The route cannot be served.
            SerializationError: A class or argument cannot be pickled.
            DeployError: A constructor or `reconfigure` failed, or the HTTP port is taken.
            NotServingError: The mesh was shut down.
        """
        async with self._turns.take(graph.app):
            check_route(graph.app, route_prefix, [app.spec for app in self._apps.values()])
            exposed = read_typed(graph, exposed_names(graph, route_prefix))
            spec = with_lookups(app_spec(graph, route_prefix), graph)
            spec = published(spec, exposed)
            services = with_hints(service_specs(graph), exposed)
            if spec.is_reached_from_outside:
                self._door.listen()
            await self._put(spec, services)

    async def _put(self, spec: AppSpec, services: Sequence[ServiceSpec]) -> None:
        app = self._apps.get(spec.name)
        if app is None:
            await self._start(spec, services)
            return
        app.status = ApplicationStatus.DEPLOYING
        try:
            await self._replace(app, spec, services)
            app.message = ""
        except BaseException as exc:
            app.message = f"the last deploy failed: {str(exc) or 'it was interrupted'}"
            raise
        finally:
            app.status = ApplicationStatus.RUNNING

    def _make(self, spec: AppSpec, services: Sequence[ServiceSpec]) -> Generation:
        new = self._nursery.make(spec, services, self._next_id)
        self._next_id += max(service.options.num_replicas for service in services)
        return new

    async def _start(self, spec: AppSpec, services: Sequence[ServiceSpec]) -> None:
        """Start an application that was not there."""
        new = self._make(spec, services)
        app = self._apps[spec.name] = LocalApplication(current=new)
        self._write_mesh()
        try:
            children = [child for service in new.services for child in service.start_all()]
            if spec.is_reached_from_outside:
                self._door.open()
            await until_running(spec.name, children, self._changed)
            await self._door.until_open(self._changed)
        except BaseException as exc:
            await self._withdraw(app, exc)
            raise
        app.status = ApplicationStatus.RUNNING
        self._failed.pop(spec.name, None)

    async def _withdraw(self, app: LocalApplication, error: BaseException) -> None:
        """An application failed to start: nothing of it stays but its status."""
        name = app.spec.name
        del self._apps[name]
        self._write_mesh()
        await app.stop(at_once=True)
        app.status, app.message = ApplicationStatus.DEPLOY_FAILED, str(error)
        self._failed[name] = app.overview()
        self.folder.forget(app.current.number)

    async def _replace(
        self, app: LocalApplication, spec: AppSpec, services: Sequence[ServiceSpec]
    ) -> None:
        change = None
        if not app.others:
            change = find_reconfiguration(app.current, services, code_stamp())
        if change is None:
            await self._roll(app, self._make(spec, services))
            return
        await change.carry_out(self._changed)
        app.current.spec = spec
        self._write_mesh()
        await self._open_door(spec)

    async def _roll(self, app: LocalApplication, new: Generation) -> None:
        """Put a new generation in the place of what is there."""
        rollout = Rollout(app, new, self._changed)
        app.others.append(new)
        self._write_mesh()
        try:
            await rollout.try_out()
            await self._open_door(new.spec)
        except BaseException:
            app.others.remove(new)
            await asyncio.gather(*(child.stop(at_once=True) for child in new.children()))
            self.folder.forget(new.number)
            raise
        app.adopt(new)
        # From here on the rest of the mesh calls the new ones by what they are.
        self._write_mesh()
        await rollout.replace()
        await rollout.finish()
        while app.others:
            self.folder.forget(app.others.pop().number)

    async def _open_door(self, spec: AppSpec) -> None:
        if spec.is_reached_from_outside:
            self._door.open()
            await self._door.until_open(self._changed)

    async def start_tasks(self) -> None:
        """Add the task service, unless it is there.

        Raises:
            OptionError: The number of its replicas is none.
            DeployError: It did not start.
        """
        async with self._starting_tasks:
            if TASKS.app not in self._apps:
                await self.deploy(task_graph(local_replicas()), None)

    async def delete(self, name: str) -> None:
        """Stop an application; nothing happens if there is none of that name.

        One that is being deployed comes no further.
        """
        self._turns.interrupt(name)
        async with self._turns.take(name):
            self._failed.pop(name, None)
            app = self._apps.get(name)
            if app is None:
                return
            await app.stop()
            del self._apps[name]
            self._write_mesh()
            for generation in app.generations:
                self.folder.forget(generation.number)

    async def close(self, *, at_once: bool = False) -> None:
        """Stop the gateway, then every application, and remove the folder. Twice is fine."""
        await self._turns.close()
        await self._door.stop(at_once=at_once)
        tasks = self._apps.pop(TASKS.app, None)
        await asyncio.gather(*(app.stop(at_once=at_once) for app in self._apps.values()))
        if tasks is not None:
            # Nobody waits for them any more.
            await tasks.stop(at_once=True)
        descriptors, self._lifeline = self._lifeline, ()
        for descriptor in descriptors:
            os.close(descriptor)
        self._door.close()
        self.folder.remove()

    def kill(self) -> None:
        """End every process at once; `close` does the rest."""
        for app in self._apps.values():
            for child in app.children():
                child.kill()
        self._door.kill()

    def status(self) -> ServeStatus:
        """How everything is."""
        running = {name: app.overview() for name, app in self._apps.items()}
        return ServeStatus(
            applications={**self._failed, **running},
            proxies=self._door.health,
            http_address=self.http_address,
            grpc_address=self.grpc_address,
        )
