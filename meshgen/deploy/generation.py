"""All replicas that one deploy of an application has made: of one code, with one mesh.json."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from meshgen.deploy.child import Child
from meshgen.deploy.codestamp import CodeStamp, code_stamp
from meshgen.deploy.command import Command
from meshgen.deploy.folder import MeshFolder, child_environment
from meshgen.errors import DeployError
from meshgen.serve.schema import ReplicaState
from meshgen.settings import leaving_mark
from meshgen.spec import AppSpec, ServiceSpec

logger = logging.getLogger("meshgen")

_MODULE = "meshgen.runtime.service"


@dataclass
class Service:
    """The replicas of one deployment: `children` that were started, and those to come."""

    spec: ServiceSpec
    folder: Path
    waiting: list[Child]
    children: list[Child] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The deployment's name."""
        return self.spec.stub.id.name

    def start_next(self) -> Child:
        """Start one more."""
        child = self.waiting.pop(0)
        self.children.append(child)
        child.start()
        return child

    def start_all(self) -> list[Child]:
        """Start all that were not."""
        return [self.start_next() for _ in range(len(self.waiting))]


@dataclass
class Generation:
    """What a deploy has made. `number` is the id of the first replica of each deployment.

    Its processes read a `mesh.json` of their own: code of before a redeploy goes on with the
    methods that it knows.
    """

    number: int
    spec: AppSpec
    services: list[Service]
    stamp: CodeStamp

    def children(self) -> Iterator[Child]:
        """The processes that were started."""
        for service in self.services:
            yield from service.children

    def service(self, name: str) -> Service | None:
        """That of a deployment, if it has one."""
        return next((each for each in self.services if each.name == name), None)


async def until_running(app: str, children: Sequence[Child], changed: asyncio.Condition) -> None:
    """Wait for constructors; how long they take is the user's business.

    Raises:
        DeployError: One failed; carries its traceback.
    """
    async with changed:
        while not all(child.state is ReplicaState.RUNNING for child in children):
            for child in children:
                if child.state is ReplicaState.FAILED:
                    error = child.last_error.rstrip()
                    raise DeployError(f"application {app!r} did not start: {error}")
            await _wait_and_tell(children, changed)


async def _wait_and_tell(children: Sequence[Child], changed: asyncio.Condition) -> None:
    try:
        async with asyncio.timeout(10.0):
            await changed.wait()
    except TimeoutError:
        names = [c.command.name for c in children if c.state is ReplicaState.STARTING]
        logger.warning("still waiting for the constructors of %s", ", ".join(names))


@dataclass(frozen=True, slots=True, kw_only=True)
class Nursery:
    """Makes the processes of an application, in a folder, by hooks of the mesh that owns them."""

    folder: MeshFolder
    lifeline_fd: int
    on_line: Callable[[str, str, bool], None]
    on_change: Callable[[], None]

    def make(self, spec: AppSpec, services: Sequence[ServiceSpec], number: int) -> Generation:
        """All replicas of an application, not started; each deployment's ids begin at `number`.

        No two that run at a time may have the same: it names their sockets.
        """
        return Generation(
            number=number,
            spec=spec,
            services=[self._service(service, number) for service in services],
            stamp=code_stamp(),
        )

    def _service(self, spec: ServiceSpec, number: int) -> Service:
        folder = self.folder.write_service(spec, number)
        ids = [str(number + index) for index in range(spec.options.num_replicas)]
        children = [self._child(spec, folder, number, replica_id) for replica_id in ids]
        return Service(spec=spec, folder=folder, waiting=children)

    def _child(self, spec: ServiceSpec, folder: Path, number: int, replica_id: str) -> Child:
        socket = self.folder.socket(spec.stub, replica_id)
        settings = self.folder.settings(
            mesh_file=self.folder.mesh_file_of(number),
            service_dir=folder,
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
