"""The processes of one application of a local mesh."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from meshgen.deploy.child import Child, Command
from meshgen.deploy.folder import MeshFolder, child_environment
from meshgen.errors import DeployError
from meshgen.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    ReplicaState,
    ReplicaStatus,
)
from meshgen.settings import leaving_mark
from meshgen.spec import AppSpec, ServiceSpec

logger = logging.getLogger("meshgen")

_MODULE = "meshgen.runtime.service"


@dataclass
class Service:
    """The replicas of one deployment."""

    spec: ServiceSpec
    children: list[Child]

    def status(self) -> DeploymentStatusOverview:
        """How they are."""
        states = Counter(child.state.value for child in self.children)
        failed = [child for child in self.children if child.last_error]
        if states["RUNNING"] == len(self.children):
            status = DeploymentStatus.HEALTHY
        elif states["FAILED"]:
            status = DeploymentStatus.DEPLOY_FAILED
        else:
            status = DeploymentStatus.UNHEALTHY if failed else DeploymentStatus.UPDATING
        return DeploymentStatusOverview(
            status=status,
            message=failed[0].last_error if failed else "",
            replica_states=dict(states),
            replicas=tuple(
                ReplicaStatus(
                    replica_id=child.command.name,
                    state=child.state,
                    pid=child.pid,
                    restarts=child.restarts,
                    last_error=child.last_error,
                    stored_values=child.facts.get("stored_values", 0),
                    stored_bytes=child.facts.get("stored_bytes", 0),
                )
                for child in self.children
            ),
        )


@dataclass
class LocalApplication:
    """Owns the replicas of one application."""

    spec: AppSpec
    services: list[Service]
    status: ApplicationStatus = ApplicationStatus.DEPLOYING
    message: str = ""
    deployed_at: float = field(default_factory=time.time)

    def children(self) -> Iterator[Child]:
        """Every replica's process."""
        for service in self.services:
            yield from service.children

    def start(self) -> None:
        """Start all replicas at once."""
        for child in self.children():
            child.start()

    async def until_running(self, changed: asyncio.Condition) -> None:
        """Wait for all constructors; how long they take is the user's business.

        Raises:
            DeployError: One failed; carries its traceback.
        """
        async with changed:
            while not all(child.state is ReplicaState.RUNNING for child in self.children()):
                for service in self.services:
                    self._refuse_failed(service)
                await self._wait_and_tell(changed)
        self.status = ApplicationStatus.RUNNING

    async def _wait_and_tell(self, changed: asyncio.Condition) -> None:
        try:
            async with asyncio.timeout(10.0):
                await changed.wait()
        except TimeoutError:
            names = [c.command.name for c in self.children() if c.state is ReplicaState.STARTING]
            logger.warning("still waiting for the constructors of %s", ", ".join(names))

    def _refuse_failed(self, service: Service) -> None:
        for child in service.children:
            if child.state is ReplicaState.FAILED:
                raise DeployError(
                    f"application {self.spec.name!r} did not start: {child.last_error.rstrip()}"
                )

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop callers before what they call, so that running requests can finish."""
        self.status = ApplicationStatus.DELETING
        for service in reversed(self.services):
            stopping = (child.stop(at_once=at_once) for child in service.children)
            await asyncio.gather(*stopping)

    def overview(self) -> ApplicationStatusOverview:
        """How it is."""
        deployments = {s.spec.stub.id.name: s.status() for s in self.services}
        healthy = all(d.status is DeploymentStatus.HEALTHY for d in deployments.values())
        running = self.status is ApplicationStatus.RUNNING
        return ApplicationStatusOverview(
            status=ApplicationStatus.UNHEALTHY if running and not healthy else self.status,
            message=self.message,
            last_deployed_time_s=self.deployed_at,
            route_prefix=self.spec.route_prefix,
            deployments=deployments,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nursery:
    """Makes the processes of an application, in a folder, by hooks of the mesh that owns them."""

    folder: MeshFolder
    lifeline_fd: int
    on_line: Callable[[str, str, bool], None]
    on_change: Callable[[], None]

    def make(self, spec: AppSpec, services: list[ServiceSpec], first_id: int) -> LocalApplication:
        """All replicas of an application, not started; each deployment's ids begin at `first_id`.

        No two that run at a time may have the same: it names their sockets.
        """
        return LocalApplication(
            spec=spec,
            services=[
                Service(spec=service, children=self._children(service, first_id))
                for service in services
            ],
        )

    def _children(self, spec: ServiceSpec, first_id: int) -> list[Child]:
        directory = self.folder.write_service(spec, first_id)
        ids = [str(first_id + index) for index in range(spec.options.num_replicas)]
        return [self._child(spec, str(directory), replica_id) for replica_id in ids]

    def _child(self, spec: ServiceSpec, directory: str, replica_id: str) -> Child:
        socket = self.folder.socket(spec.stub, replica_id)
        settings = self.folder.settings(
            service_dir=directory,
            listen=f"unix:{socket}",
            replica_id=replica_id,
            lifeline_fd=self.lifeline_fd,
        )
        actor = spec.options.actor
        command = Command(
            name=f"{spec.stub.service}#{replica_id}",
            module=_MODULE,
            environment=child_environment(settings, dict(actor.env_vars)),
            descriptors=(self.lifeline_fd,),
            working_dir=actor.working_dir,
            drain_seconds=spec.options.graceful_shutdown_timeout_s,
            retries=spec.options.max_constructor_retry_count - 1,
        )
        return Child(
            command,
            self.on_line,
            self.on_change,
            # A process that was killed leaves its socket behind, which nobody may find.
            clean_up=lambda: _forget(socket),
        )


def _forget(socket: Path) -> None:
    for path in (socket, leaving_mark(socket)):
        path.unlink(missing_ok=True)
