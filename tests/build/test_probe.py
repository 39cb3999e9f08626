"""The health probe against real servers, well and ill."""

from __future__ import annotations

import os
import resource
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from meshgen.build.resources import resource as resource_folder
from tests.tlscerts import for_localhost

PROBE = resource_folder("docker") / "probe.py"
CPU_MS = 60.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How one probe ended."""

    status: int
    sentence: str


def _probe(target: str) -> Ran:
    """One that was late may have been so for what else the machine does: it is asked again."""
    for _ in range(5):
        ran = _probe_once(target)
        if "timed out" not in ran.sentence:
            break
    return ran


def _probe_once(target: str) -> Ran:
    ran = subprocess.run(
        [sys.executable, "-I", "-S", str(PROBE), target],
        capture_output=True,
        text=True,
        timeout=60,
    )
    return Ran(ran.returncode, ran.stderr.strip())


@dataclass(frozen=True, slots=True)
class HealthServer:
    """A grpcio server with the standard health service."""

    servicer: health.HealthServicer
    address: str

    def set(self, status: str) -> None:
        """Say so for the server as a whole."""
        self.servicer.set("", health_pb2.HealthCheckResponse.ServingStatus.Value(status))


@pytest.fixture
def server() -> Iterator[HealthServer]:
    """Serving, until told otherwise."""
    servicer = health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield HealthServer(servicer, f"127.0.0.1:{port}")
    server.stop(None).wait()


def test_a_server_that_serves_is_healthy(server: HealthServer) -> None:
    """Exit status 0 and not a word."""
    server.set("SERVING")
    assert _probe(server.address) == Ran(0, "")


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"])
def test_a_server_that_does_not_serve_is_unhealthy(server: HealthServer, status: str) -> None:
    """Whatever else it says."""
    server.set(status)
    assert _probe(server.address) == Ran(
        1, f"{server.address} is not healthy: the server is up and says that it is not serving"
    )


def test_a_server_without_the_health_service_is_unhealthy() -> None:
    """UNIMPLEMENTED comes as headers alone, without a message."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ran = _probe(f"127.0.0.1:{port}")
    server.stop(None).wait()
    assert ran.status == 1 and "not serving" in ran.sentence


def test_nothing_that_listens_is_unhealthy() -> None:
    """A port that nobody else gets meanwhile."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        ran = _probe(f"127.0.0.1:{holder.getsockname()[1]}")
    assert ran.status == 1 and "refused" in ran.sentence


def test_a_listener_that_stays_silent_is_unhealthy_in_time() -> None:
    """The probe gives up by itself, before the orchestrator must kill it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ran = _probe_once(f"127.0.0.1:{listener.getsockname()[1]}")
    assert ran.status == 1 and "timed out" in ran.sentence


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/-/healthz" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def http_port() -> Iterator[int]:
    """A plain HTTP server that is healthy at one path only."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_http_is_healthy_where_it_answers_2xx(http_port: int) -> None:
    """The gateway's probe."""
    assert _probe(f"http://127.0.0.1:{http_port}/-/healthz") == Ran(0, "")


@pytest.fixture
def https_port(tmp_path: Path) -> Iterator[int]:
    """The same with a certificate that no probe knows."""
    certificates = for_localhost(tmp_path / "certs")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_https_is_healthy_whatever_its_certificate_says(https_port: int) -> None:
    """It is a user's, with a user's name."""
    assert _probe(f"https://127.0.0.1:{https_port}/-/healthz") == Ran(0, "")
    assert "503" in _probe(f"https://127.0.0.1:{https_port}/").sentence


def test_plain_text_at_an_https_probe_is_unhealthy(http_port: int) -> None:
    """In a sentence."""
    ran = _probe(f"https://127.0.0.1:{http_port}/-/healthz")
    assert ran.status == 1 and "is not healthy" in ran.sentence


def test_http_is_unhealthy_where_it_answers_anything_else(http_port: int) -> None:
    """And the sentence has the status."""
    ran = _probe(f"http://127.0.0.1:{http_port}/")
    assert ran.status == 1 and "503" in ran.sentence


@pytest.mark.parametrize("target", ["", "localhost", "http://localhost/", "host:port"])
def test_a_target_without_a_port_is_asked_wrongly(target: str) -> None:
    """Usage, and an exit status of its own."""
    ran = _probe(target)
    assert ran.status == 2 and ran.sentence.startswith("usage:")


def test_a_probe_costs_little_cpu(server: HealthServer) -> None:
    """It runs every two seconds in every container: an import of grpc would cost 100 ms more."""
    server.set("SERVING")
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert _probe(server.address).status == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(costs) * 1000 < CPU_MS


def test_the_probe_needs_only_the_standard_library() -> None:
    """No site-packages, and no environment, as in the container."""
    imports = [
        line for line in PROBE.read_text().splitlines() if line.startswith(("import", "from"))
    ]
    assert imports == ["import socket", "import sys", "import time"]
    assert os.access(PROBE, os.R_OK)
