"""A built mesh in real containers: it answers, it is locked down, it scales under load."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from meshgen.build.certs import write_certificates
from meshgen.build.project import container_user
from meshgen.edges import Identity
from tests.compose.load import Load
from tests.compose.mesh import ComposeMesh, run
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.alone]

APP = Path(__file__).parent.parent / "apps" / "replicas" / "app.py"
DORA = {"name": "Dora"}


@pytest.fixture(scope="module")
def mesh(start_mesh: StartMesh) -> ComposeMesh:
    """The application of tests/apps/replicas, up and healthy."""
    return start_mesh(f"{APP}:app")


def test_the_gateway_answers_with_what_the_services_computed(mesh: ComposeMesh) -> None:
    """A request goes through gateway, ingress and the deployment behind it."""
    answer = mesh.http("/", DORA)
    assert (answer.status_code, answer.json()["greeting"]) == (200, "Hola Dora")


def test_containers_run_without_root_or_a_writable_file_system(mesh: ComposeMesh) -> None:
    """The process is no root, can write to /tmp only, and can read its own key."""
    uid = mesh.compose("exec", "-T", "greeter", "id", "-u").strip()
    script = "touch /mesh/x 2>/dev/null && exit 1; touch /tmp/x && cat /run/secrets/key.pem"
    key = mesh.compose("exec", "-T", "greeter", "sh", "-c", script)
    assert uid == str(container_user().uid) != "0"
    assert "PRIVATE KEY" in key


def test_an_image_holds_no_key_and_no_compiler(mesh: ComposeMesh) -> None:
    """Keys come as secrets at run time; what builds requirements stays in an earlier stage."""
    script = "find /mesh -name '*.pem' -o -name '*.key'; command -v gcc pip || true"
    found = run("docker", "run", "--rm", "--entrypoint", "sh", mesh.image("greeter"), "-c", script)
    assert "/mesh" not in found and "gcc" not in found and "/opt/venv" not in found


def test_only_a_peer_with_a_certificate_of_this_mesh_is_let_in(
    mesh: ComposeMesh, tmp_path: Path
) -> None:
    """Plain text, no certificate and another mesh's certificate are refused; a member is not."""
    identity = Identity(project="other", name="gateway")
    write_certificates(tmp_path / "other", [identity], container_user())
    ours, other = mesh.folder / "certs", tmp_path / "other"
    ca = (ours / "ca.pem").read_text()
    assert _call(mesh, {}) == "UNAVAILABLE"
    assert _call(mesh, {"PEER_CA": ca}) == "UNAVAILABLE"
    assert _call(mesh, {"PEER_CA": ca} | _pair(other)) == "UNAVAILABLE"
    assert _call(mesh, {"PEER_CA": ca} | _pair(ours)) not in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


def test_scaling_under_load_uses_every_replica_and_loses_no_call(mesh: ComposeMesh) -> None:
    """From one to three and back to one; each new replica serves within two seconds."""
    with Load(mesh.url, DORA) as load:
        assert load.wait_for_answers(50, timeout=20)
        mesh.scale("greeter", 3)
        assert load.wait_for_replicas(3, timeout=2), load.first_seen
        mesh.scale("greeter", 1)
        # Whatever those that are gone have answered is counted by then.
        assert load.wait_for_answers(50, timeout=20)
        before = dict(load.last_seen)
        assert load.wait_for_answers(100, timeout=20)
        still = [name for name, seen in load.last_seen.items() if seen > before[name]]
    assert load.failures == []
    assert len(still) == 1


def _pair(certs: Path) -> dict[str, str]:
    return {
        "PEER_CERT": (certs / "gateway" / "cert.pem").read_text(),
        "PEER_KEY": (certs / "gateway" / "key.pem").read_text(),
    }


def _call(mesh: ComposeMesh, environment: Mapping[str, str]) -> str:
    """The status code that a stranger's container on the mesh's network gets."""
    given = {"PEER_TARGET": "greeter:50051", **environment}
    options = [part for name, value in given.items() for part in ("--env", f"{name}={value}")]
    script = (Path(__file__).parent / "peer.py").read_text()
    return run(
        *("docker", "run", "--rm", "--network", f"{mesh.project}_default", *options),
        *("--entrypoint", "python", mesh.image("greeter"), "-c", script),
    ).strip()
