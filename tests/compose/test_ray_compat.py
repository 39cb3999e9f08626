"""An application for Ray, built as it is, in containers that have no Ray."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.compose.mesh import ComposeMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

SOURCE = Path(__file__).parent.parent / "apps" / "ray_source.py"


@pytest.fixture(scope="module")
def mesh(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposeMesh]:
    """The application of tests/apps/ray_source.py, up and healthy."""
    folder = tmp_path_factory.mktemp("ray")
    (folder / "source").mkdir()
    shutil.copy(SOURCE, folder / "source" / "app.py")
    (folder / "source" / "requirements.txt").write_text("ray[serve]\n")
    name = f"test-ray-{secrets.token_hex(3)}"
    # As a process: imports of Ray are answered in a whole process or not at all.
    command = ["-m", "meshgen", "build", "--ray-compat", "source/app.py:app", "-o", "out"]
    subprocess.run([sys.executable, *command, "--name", name], cwd=folder, check=True)
    mesh = ComposeMesh(folder=folder / "out", project=name, port=0)
    (mesh.folder / ".env").write_text("HTTP_PORT=0\nGRPC_PORT=0\n")
    try:
        mesh.up()
        address = mesh.compose("port", "gateway", "8000")
        yield replace(mesh, port=int(address.rpartition(":")[2]))
    finally:
        mesh.down()


def test_it_answers_as_it_does_elsewhere(mesh: ComposeMesh) -> None:
    """Chains, streams, and an exception derived from one of Ray's, between containers."""
    assert mesh.http("/?number=3").json() == {"sum": 7, "items": [0, 1, 2]}
    assert mesh.http("/?number=101").json() == {"refused": "101 is too much"}


def test_its_tasks_and_actors_run_in_a_service_of_their_own(mesh: ComposeMesh) -> None:
    """Also when that has replicas which come and go: an actor's calls find it."""
    assert mesh.http("/?tasks=3").json() == {"total": 26}
    mesh.scale("meshgen-tasks", 3)
    for _ in range(10):
        assert mesh.http("/?tasks=3").json() == {"total": 26}


def test_no_image_has_a_ray(mesh: ComposeMesh) -> None:
    """Although requirements.txt asks for one."""
    script = "import importlib.metadata as m; print([d.name for d in m.distributions(name='ray')])"
    assert mesh.compose("exec", "-T", "ingress", "python", "-c", script).strip() == "[]"
