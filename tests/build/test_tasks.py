"""The task service of a built mesh."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from meshgen.build.loader import load_target
from meshgen.build.project import Built, build_project
from meshgen.errors import BuildError, OptionError
from meshgen.graph import build_graph
from meshgen.specfiles import read_mesh, read_service
from meshgen.tasks.home import TASKS
from tests.build.conftest import HELLO, WriteApp

WITH_TASKS = HELLO.replace("\n\n\n@serve", "\nimport words\n\n\n@serve", 1)
WORDS = "import meshgen\n\n@meshgen.remote\ndef upper(word):\n    return word.upper()\n"


def _build(folder: Path, *, tasks: bool = False) -> tuple[Built, Path]:
    out = folder.parent / "out"
    return build_project(load_target(f"{folder / 'app.py'}:app"), out, tasks=tasks), out


def test_an_application_that_declares_tasks_gets_the_service(write_app: WriteApp) -> None:
    """In its own image, scalable, before all that may call it; outside of HTTP."""
    built, out = _build(write_app(WITH_TASKS, words_dot_py=WORDS))
    assert [service.name for service in built.plan.services] == [
        "meshgen-tasks",
        "spanish",
        "hello",
    ]
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    tasks = services["meshgen-tasks"]
    assert tasks["image"] == services["hello"]["image"]
    assert tasks["deploy"] == {"replicas": "${MESHGEN_TASKS_REPLICAS:-1}"}
    assert set(services["spanish"]["depends_on"]) == {"meshgen-tasks"}
    assert set(services["hello"]["depends_on"]) == {"meshgen-tasks", "spanish"}
    assert "ports" not in tasks
    assert "meshgen://hello/meshgen-tasks" in [each.uri for each in built.plan.identities]


def test_the_mesh_knows_it_by_its_name(write_app: WriteApp) -> None:
    """As an application of its own, whose service can be read."""
    _, out = _build(write_app(WITH_TASKS, words_dot_py=WORDS))
    assert read_mesh(out / "mesh.json").find(TASKS).service == "meshgen-tasks"
    spec = read_service(out / "services" / "meshgen-tasks")
    assert spec.target.path == "meshgen.tasks.runner:TaskRunner"
    applications = json.loads((out / "mesh.json").read_bytes())["applications"]
    assert {name: app["route_prefix"] for name, app in applications.items()} == {
        "hello": "/",
        "meshgen": None,
    }


@pytest.mark.parametrize("asked", [False, True])
def test_others_get_it_when_they_ask(write_app: WriteApp, asked: bool) -> None:
    """What an application does not use is not there."""
    built, _ = _build(write_app(), tasks=asked)
    assert ("meshgen-tasks" in [service.name for service in built.plan.services]) is asked


def test_a_task_s_module_must_come_along(write_app: WriteApp, tmp_path: Path) -> None:
    """A replica imports it."""
    folder = write_app(WITH_TASKS, words_dot_py=WORDS)
    (folder / ".dockerignore").write_text("words.py\n")
    with pytest.raises(BuildError, match=r"upper: its module .*words\.py is left out of the mesh"):
        _build(folder)


def test_its_names_are_taken(write_app: WriteApp) -> None:
    """As an application's and as a deployment's."""
    loaded = load_target(f"{write_app() / 'app.py'}:app")
    with pytest.raises(OptionError, match="cannot be called 'meshgen'"):
        build_graph(loaded.application, app="meshgen")
    named = loaded.application.deployment.options(name="meshgen_tasks").bind()
    with pytest.raises(BuildError, match="'meshgen-tasks', which is the mesh's own service"):
        build_graph(named)
