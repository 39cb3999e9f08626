"""The process of one replica: how it begins, answers, is stopped and ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen.settings import leaving_mark
from tests.runtime import workers
from tests.runtime.processes import ROOT, calling, service
from tests.runtime.replicas import until


async def test_a_service_reports_that_it_serves_and_answers() -> None:
    """It is a process of its own."""
    with service(workers.Worker) as process:
        assert process.report() == {"phase": "serving"}
        async with calling(process) as handle:
            assert await handle.pid.remote() == process.pid != os.getpid()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_drains(number: signal.Signals, tmp_path: Path) -> None:
    """What runs is finished, nobody new finds it, `__del__` runs, and the exit status is 0."""
    with service(workers.Worker) as process:
        process.report()
        async with calling(process) as handle:
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
    with service(workers.Worker, graceful_shutdown_timeout_s=0.1) as process:
        process.report()
        async with calling(process) as handle:
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
    with service(target) as process:
        report = process.report()
        status, _, err = process.ended()
        assert status == 1
        assert report["phase"] == "failed" and report["error"].endswith(f"{said}\n")
        assert err.startswith(f"{target.__name__} could not be constructed:\nTraceback")
        assert "workers.py" in err and "/meshgen/runtime/" not in err
        assert not process.socket.exists()


def test_a_service_ends_with_its_supervisor() -> None:
    """Also when that was killed and could tell nobody."""
    with service(workers.Worker) as process:
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


@contextmanager
def _held_port() -> Iterator[int]:
    """A free port that no other process is given meanwhile; who is told of it can serve there."""
    with socket.socket() as holder:  # which never listens
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def test_a_probe_is_answered_as_long_as_it_serves() -> None:
    """Where the environment asks for it."""
    with _held_port() as port, service(workers.Worker, {"health": f"127.0.0.1:{port}"}) as process:
        process.report()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            for name in ("", "default.worker.v1.WorkerService"):
                request = health_pb2.HealthCheckRequest(service=name)
                reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=10)
                assert reply.status == health_pb2.HealthCheckResponse.SERVING
        process.send(signal.SIGTERM)
        assert process.ended()[0] == 0
