"""The trust boundary of a built mesh, in containers: who gets in, as whom, and to what."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest

from tests.compose.load import Load
from tests.compose.mesh import ComposeMesh
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = Path(__file__).parent.parent / "apps" / "boundary" / "app.py"
PROGRAM = """
import sys
from meshgen import serve
app = sys.argv[1]
print(serve.get_app_handle(app).greet.remote("Dora").result(timeout_s=20))
try:
    print(serve.get_deployment_handle("Vault", app).open.remote("Dora").result(timeout_s=20))
except Exception as exc:
    print(type(exc).__name__, exc)
"""


@pytest.fixture(scope="module")
def mesh(start_mesh: StartMesh) -> ComposeMesh:
    """The application of tests/apps/boundary, up and healthy."""
    return start_mesh(f"{APP}:app")


def _meshgen(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "meshgen", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("who", ["friend", "declared"])
def test_a_service_calls_what_it_was_bound_to_or_declares(mesh: ComposeMesh, who: str) -> None:
    """The two ways to an edge."""
    assert mesh.http("/", {"who": who, "name": "Dora"}).json()["said"] == "gold for Dora"


def test_a_service_without_an_edge_is_refused(mesh: ComposeMesh) -> None:
    """Although it is a member of the mesh; the sentence says who, what, and what to do."""
    answer = mesh.http("/", {"who": "stranger", "name": "Dora"}).json()
    assert answer["error"] == "PermissionDeniedError"
    assert "stranger may not call" in answer["message"]
    assert "may_call=['Vault']" in answer["message"]


class _Bomb:
    """Touches a file where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("touch /tmp/unpickled",)


def _rpcs(mesh: ComposeMesh) -> list[str]:
    """Every RPC of every service there is, typed or not, on whichever port."""
    document = json.loads((mesh.folder / "mesh.json").read_bytes())
    paths = [f"/meshgen.v1.MeshService/{name}" for name in ("Link", "Call", "CallStream")]
    paths += ["/meshgen.v1.MeshService/Upload", "/meshgen.v1.MeshService/Fetch"]
    for app in document["applications"].values():
        for service in app["typed"].values():
            paths += [
                f"/{service['name']}/{rpc}" for rpc in (*service["rpcs"], "Call", "CallStream")
            ]
    assert any(path.endswith("/Greet") for path in paths)
    return paths


def test_published_ports_unpickle_nothing(mesh: ComposeMesh) -> None:
    """Whatever is sent to whichever port and RPC: no process of the mesh runs a pickle's code."""
    bomb = pickle.dumps(((_Bomb(),), {}))
    codes = {path: _sent_over_grpc(mesh, path, bomb) for path in _rpcs(mesh)}
    assert {code for path, code in codes.items() if "/Call" in path or "Mesh" in path} == {
        grpc.StatusCode.UNIMPLEMENTED
    }
    for path in ("/", "/Front/greet", *_rpcs(mesh)):
        for kind in ("application/json", "application/grpc-web+proto", "application/x-pickle"):
            frame = b"\0" + len(bomb).to_bytes(4, "big") + bomb if "grpc" in kind else bomb
            answer = httpx.post(
                f"{mesh.url}{path}", content=frame, headers={"content-type": kind}, timeout=30
            )
            assert answer.status_code < 600
    for service in ("gateway", "front", "vault", "friend"):
        assert "unpickled" not in mesh.compose("exec", "-T", service, "ls", "/tmp")
    assert mesh.http("/", {"who": "friend", "name": "Dora"}).json()["said"] == "gold for Dora"


def _sent_over_grpc(mesh: ComposeMesh, path: str, message: bytes) -> grpc.StatusCode:
    with grpc.insecure_channel(f"127.0.0.1:{mesh.grpc_port}") as channel:
        call = channel.stream_stream(path)(iter([message]), timeout=20)
        code: grpc.StatusCode = call.code()
        return code


@pytest.mark.parametrize(
    ("name", "more", "said"),
    [
        ("dora", ("--may-call", "Vault"), "gold for Dora"),
        ("bob", (), "PermissionDeniedError the client bob may not call"),
    ],
)
def test_a_program_outside_calls_by_handles_what_its_certificate_says(
    mesh: ComposeMesh, name: str, more: tuple[str, ...], said: str
) -> None:
    """By `meshgen connect`, with a client's certificate; what the gateway serves in any case."""
    out, app = str(mesh.folder), mesh.project
    issued = _meshgen("certs", "issue", out, name, *more)
    assert issued.returncode == 0, issued.stderr
    cert = str(mesh.folder / "certs" / "clients" / name)
    ran = _meshgen("connect", out, "--cert", cert, "--", sys.executable, "-c", PROGRAM, app)
    greeting, opened = ran.stdout.strip().splitlines()
    assert greeting == "Hello Dora", ran.stderr
    assert opened.startswith(said)


def test_certificates_are_rotated_while_calls_go_on(mesh: ComposeMesh) -> None:
    """A new authority, new certificates, the old authority forgotten: no call fails, and a replica
    that starts afterwards is let in."""
    out = str(mesh.folder)
    with Load(mesh.url, {"who": "friend", "name": "Dora"}) as load:
        assert load.wait_for_answers(20, timeout=20)
        for more in (["--ca"], ["--forget-old-ca"]):
            ran = _meshgen("certs", "rotate", out, *more)
            assert ran.returncode == 0, ran.stderr
            assert load.wait_for_answers(20, timeout=20)
        mesh.scale("vault", 2)
        mesh.scale("vault", 1)
        assert load.wait_for_answers(50, timeout=20)
    assert load.failures == []


def test_the_status_shows_until_when_certificates_are_good_and_what_runs(mesh: ComposeMesh) -> None:
    """For people, and for scripts."""
    shown = json.loads(_meshgen("status", str(mesh.folder), "--json").stdout)
    assert {"certificate authority", "gateway", "vault"} <= {*shown["certificates"]}
    assert shown["containers"]["front"] == {"healthy": 1}
    assert "vault" in _meshgen("status", str(mesh.folder)).stdout
