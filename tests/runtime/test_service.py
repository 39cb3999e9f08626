"""The process of one replica: a real one, told by its environment and watched from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen.arguments import Arguments
from meshgen.listener import bind
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.handle import DeploymentHandle
from meshgen.settings import Settings, leaving_mark, socket_folder
from meshgen.spec import AppSpec, MeshSpec, ServiceSpec, Target, write_mesh, write_service
from tests.runtime import workers
from tests.runtime.replicas import Mesh, mesh_caller, short_folder, spec_of, until

ROOT = Path(__file__).parents[2]


class Process:
    """One service process and what it tells."""

    def __init__(self, spec: ServiceSpec, root: Path, **settings: Any) -> None:
        self.spec = spec
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
def _service(target: type, settings: dict[str, Any] | None = None, **options: Any) -> Iterator[Any]:
    spec = spec_of(target, **options)
    spec = ServiceSpec(
        stub=spec.stub,
        target=Target(path=f"{target.__module__}:{target.__qualname__}"),
        arguments=Arguments(json='{"args": [], "kwargs": {}}'),
        options=spec.options,
    )
    with short_folder() as root:
        process = Process(spec, root, **(settings or {}))
        process.root = root  # type: ignore[attr-defined]
        try:
            yield process
        finally:
            process.close()


@asynccontextmanager
async def _calling(process: Any) -> AsyncIterator[DeploymentHandle]:
    network = GrpcNetwork(template=f"unix:{process.root}", name="test")
    async with mesh_caller(network) as caller:
        yield Mesh(caller=caller, stub=process.spec.stub).handle


async def test_a_service_reports_that_it_serves_and_answers() -> None:
    """It is a process of its own."""
    with _service(workers.Worker) as process:
        assert process.report() == {"phase": "serving"}
        async with _calling(process) as handle:
            assert await handle.pid.remote() == process._process.pid != os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    """What runs is finished, nobody new finds it, `__del__` runs, and the exit status is 0."""
    with _service(workers.Worker) as process:
        process.report()
        async with _calling(process) as handle:
            response = handle.finish.remote(str(tmp_path / "marker"))
            await until((tmp_path / "marker").exists)
            process.send(number)
            await until(leaving_mark(process.socket).exists)
            assert not response.done
            (tmp_path / "marker").unlink()
            assert await response == "finished"
        status, out, err = await asyncio.to_thread(process.ended)
        assert (status, out, err) == (0, "the worker goes\n", "")


async def test_a_call_that_never_ends_does_not_keep_the_process(tmp_path: Path) -> None:
    """Its thread cannot be stopped; after the time to drain the process goes without it."""
    with _service(workers.Worker, graceful_shutdown_timeout_s=0.1) as process:
        process.report()
        async with _calling(process) as handle:
            handle.block.remote(str(tmp_path / "marker"))
            await until((tmp_path / "marker").exists)
            process.send(signal.SIGTERM)
            status, out, err = await asyncio.to_thread(process.ended)
        assert (status, out) == (0, "the worker goes\n")
        assert "default/Worker#0: 1 calls" in err and "0.1 s" in err


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (workers.Broken, "ValueError: no model here"),
        (workers.Leaving, "SystemExit: I quit"),
        (workers.Clinging, "ValueError: too late"),
    ],
)
def test_a_constructor_that_fails_ends_the_process(target: type, said: str) -> None:
    """The user's own traceback is reported and shown; the exit status is 1."""
    with _service(target) as process:
        report = process.report()
        status, _, err = process.ended()
        assert status == 1
        assert report["phase"] == "failed" and report["error"].endswith(f"{said}\n")
        assert err.startswith(f"{target.__name__} could not be constructed:\nTraceback")
        assert "workers.py" in err and "/meshgen/runtime/" not in err
        assert not process.socket.exists()


def test_a_service_ends_with_its_supervisor() -> None:
    """Also when that was killed and could tell nobody."""
    with _service(workers.Worker) as process:
        process.report()
        process.let_go()
        status, _, _ = process.ended()
        assert status == 1


def test_a_process_without_a_mesh_says_so() -> None:
    """No traceback for a missing variable."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MESHGEN_")}
    done = subprocess.run(
        [sys.executable, "-m", "meshgen.runtime.service"],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "meshgen: MESHGEN_MESH_FILE is not set: this process has no mesh\n"


def test_a_probe_is_answered_as_long_as_it_serves() -> None:
    """Where the environment asks for it."""
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    with _service(workers.Worker, {"health": f"127.0.0.1:{port}"}) as process:
        process.report()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for name in ("", "default.worker.v1.WorkerService"):
                request = health_pb2.HealthCheckRequest(service=name)
                reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
        process.send(signal.SIGTERM)
        assert process.ended()[0] == 0
