"""Unhealthy replicas and new configurations in containers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.compose.mesh import ComposeMesh
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = """
import uuid

from meshgen import serve


@serve.deployment(health_check_period_s=0.5, user_config="soft")
class Model:
    def __init__(self):
        self.start = uuid.uuid4().hex
        self.ill = False

    def reconfigure(self, config):
        self.config = config

    def check_health(self):
        if self.ill:
            raise RuntimeError("I have a fever")

    async def __call__(self, request):
        self.ill = self.ill or request.url.path == "/ill"
        return {"start": self.start, "config": self.config}


app = Model.bind()
"""
# What docs/deploying.md tells users to write.
OVERRIDE = """
services:
  model:
    volumes: ["./services/model:/mesh/services/model:ro"]
"""


@pytest.fixture(scope="module")
def mesh(start_mesh: StartMesh, tmp_path_factory: pytest.TempPathFactory) -> ComposeMesh:
    """One replica behind the gateway, whose service.json can be edited."""
    folder = tmp_path_factory.mktemp("health")
    (folder / "app.py").write_text(APP)
    mesh = start_mesh(f"{folder / 'app.py'}:app")
    (mesh.folder / "compose.override.yaml").write_text(OVERRIDE)
    mesh.up()
    return mesh


def _answer(mesh: ComposeMesh, path: str = "/") -> Any:
    return mesh.http(path).raise_for_status().json()


def _answer_when(mesh: ComposeMesh, good: Callable[[Any], bool]) -> Any:
    """The first answer that is as expected; every one is an answer."""
    for _ in range(2000):
        if good(answer := _answer(mesh)):
            return answer
    raise AssertionError(f"it still answers {answer}")


def test_a_new_user_config_reaches_a_container_by_a_signal(mesh: ComposeMesh) -> None:
    """No restart: it is the same object as before."""
    before = _answer(mesh)
    path: Path = mesh.folder / "services" / "model" / "service.json"
    document = json.loads(path.read_bytes())
    document["options"]["user_config"] = "loud"
    path.write_text(json.dumps(document))
    mesh.compose("kill", "--signal", "HUP", "model")
    after = _answer_when(mesh, lambda answer: answer["config"] == "loud")
    assert (before["config"], after["start"]) == ("soft", before["start"])


def test_an_unhealthy_replica_is_started_again_by_the_engine(mesh: ComposeMesh) -> None:
    """In the same container; the log says why, and calls wait meanwhile."""
    before = _answer(mesh, "/ill")
    container = mesh.compose("ps", "-q", "model").strip()
    after = _answer_when(mesh, lambda answer: answer["start"] != before["start"])
    assert after["config"] == before["config"]
    assert mesh.docker("inspect", "--format", "{{.RestartCount}}", container).strip() == "1"
    logs = mesh.compose("logs", "--no-color", "model")
    assert "RuntimeError: I have a fever" in logs
    assert "is unhealthy and ends, to be started again" in logs
