"""What a deployment's runtime_env asks for is in its container, and in no other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from meshgen.build.loader import load_target
from meshgen.build.project import build_project
from tests.compose.mesh import ComposeMesh
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = Path(__file__).parent.parent / "apps" / "environments"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the application, so that a test may change it."""
    folder = tmp_path_factory.mktemp("source") / "environments"
    shutil.copytree(APP, folder)
    return folder


@pytest.fixture(scope="module")
def mesh(start_mesh: StartMesh, source: Path) -> ComposeMesh:
    """The application, up and healthy."""
    return start_mesh(f"{source / 'app.py'}:app")


def test_requirements_variables_and_folder_are_the_deployments_own(mesh: ComposeMesh) -> None:
    """The other deployment has none of them."""
    assert mesh.http("/").json() == {
        "special": {"installed": True, "greeting": "¡Hola, $NAME!", "file": "hola"},
        "plain": {"installed": False, "greeting": None, "file": None},
    }


def test_a_change_of_the_code_installs_nothing_again(mesh: ComposeMesh, source: Path) -> None:
    """Requirements are in a layer of their own, below the code."""
    with (source / "app.py").open("a") as file:
        file.write("# changed\n")
    images = mesh.image("plain"), mesh.image("special")
    build_project(load_target(f"{source / 'app.py'}:app", name=mesh.project), mesh.folder)
    mesh.up()
    assert mesh.http("/").status_code == 200
    now = mesh.image("plain"), mesh.image("special")
    assert {*images}.isdisjoint(now)
    assert _requirements_layer(mesh, now[0]) == _requirements_layer(mesh, images[0])


def _requirements_layer(mesh: ComposeMesh, image: str) -> str:
    """The line of the image's history that brought the requirements in, with its time."""
    history = mesh.docker("history", "--no-trunc", "--human=false", image)
    (line,) = [line for line in history.splitlines() if "COPY /opt/venv" in line]
    return line
