"""A real service process, told by its environment and watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from meshgen.arguments import Arguments
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.handle import DeploymentHandle
from meshgen.settings import Settings, socket_folder
from meshgen.spec import AppSpec, MeshSpec, ServiceSpec, Target
from meshgen.specfiles import write_mesh, write_service
from tests.runtime.replicas import Mesh, mesh_caller, short_folder, spec_of

ROOT = Path(__file__).parents[2]


class Process:
    """One service process and what it tells."""

    def __init__(self, spec: ServiceSpec, root: Path, **settings: Any) -> None:
        self.spec = spec
        self.root = root
        folder = socket_folder(root, spec.stub.id.app, spec.stub.service)
        folder.mkdir(parents=True)
        self.socket = folder / "0.sock"
        (root / "service").mkdir()
        write_service(spec, root / "service")
        write_mesh(_mesh(spec), root / "mesh.json")
        self._reads_reports, reports = os.pipe()
        lifeline, self._holds_lifeline = os.pipe()
        told = Settings(
            mesh_file=root / "mesh.json",
            resolver=f"unix:{root}",
            service_dir=root / "service",
            listen=f"unix:{self.socket}",
            replica_id="0",
            lifeline_fd=lifeline,
            report_fd=reports,
            **settings,
        )
        self._process = subprocess.Popen(
            [sys.executable, "-m", "meshgen.runtime.service"],
            cwd=ROOT,
            env={**os.environ, **told.environment()},
            pass_fds=(lifeline, reports),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(lifeline)
        os.close(reports)
        self._reports = os.fdopen(self._reads_reports)

    def report(self) -> Any:
        """The next line that it reports; None once it is gone."""
        line = self._reports.readline()
        return json.loads(line) if line else None

    def next(self, fact: str) -> Any:
        """The next report that has something to say of this; others are passed over."""
        while (report := self.report()) is not None:
            if fact in report:
                return report
        raise AssertionError(f"it ended without a word of {fact}")

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def configure(self, user_config: Any) -> None:
        """Write a new configuration for it, as a supervisor does."""
        path = self.root / "service" / "service.json"
        document = json.loads(path.read_bytes())
        document["options"]["user_config"] = user_config
        path.write_text(json.dumps(document))

    def line(self) -> str:
        """The next line that it prints."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def error_line(self) -> str:
        """The next line of its log."""
        assert self._process.stderr is not None
        return self._process.stderr.readline()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def let_go(self) -> None:
        """What happens when the supervisor dies, however it does."""
        if self._holds_lifeline >= 0:
            os.close(self._holds_lifeline)
            self._holds_lifeline = -1

    def ended(self) -> tuple[int, str, str]:
        """Its exit status and all that it printed; waits for the end."""
        out, err = self._process.communicate(timeout=30)
        return self._process.returncode, out, err

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.communicate()
        self.let_go()
        self._reports.close()


def _mesh(spec: ServiceSpec) -> MeshSpec:
    name = spec.stub.id.name
    app = AppSpec(name="default", ingress=name, route_prefix="/", stubs={name: spec.stub})
    return MeshSpec(apps={"default": app})


@contextmanager
def service(
    target: type, settings: dict[str, Any] | None = None, **options: Any
) -> Iterator[Process]:
    """A process for one class, for the length of a block."""
    spec = spec_of(target, **options)
    spec = ServiceSpec(
        stub=spec.stub,
        target=Target(path=f"{target.__module__}:{target.__qualname__}"),
        arguments=Arguments(json='{"args": [], "kwargs": {}}'),
        options=spec.options,
    )
    with short_folder() as root:
        process = Process(spec, root, **(settings or {}))
        try:
            yield process
        finally:
            process.close()


@asynccontextmanager
async def calling(process: Process) -> AsyncIterator[DeploymentHandle]:
    """A handle from outside."""
    network = GrpcNetwork(template=f"unix:{process.root}", name="test")
    async with mesh_caller(network) as caller:
        yield Mesh(caller=caller, stub=process.spec.stub).handle
