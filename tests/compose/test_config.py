"""What `docker compose config` says of the generated files, without running any of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.compose.mesh import ComposeMesh, build_mesh

pytestmark = pytest.mark.containers

APP = """
from meshgen import serve


@serve.deployment(
    num_replicas=2,
    ray_actor_options={
        "num_gpus": 1,
        "memory": 100_000_000,
        "runtime_env": {"env_vars": {"PRICE": "$5 \\"quoted\\"", "LINES": "a\\nb: c #"}},
    },
)
class Model:
    pass


app = Model.bind()
"""


@pytest.fixture
def mesh(docker_engine: None, tmp_path: Path) -> ComposeMesh:
    """Built, not brought up: one deployment that asks for everything."""
    (tmp_path / "app.py").write_text(APP)
    return build_mesh(f"{tmp_path / 'app.py'}:app", tmp_path)


def test_compose_reads_what_the_deployment_asked_for(mesh: ComposeMesh) -> None:
    """Replicas, memory, and the user's variables to the letter."""
    model = json.loads(mesh.compose("config", "--format", "json"))["services"]["model"]
    assert model["deploy"]["replicas"] == 2
    assert model["deploy"]["resources"]["limits"]["memory"] == "100000000"
    assert model["environment"]["PRICE"].replace("$$", "$") == '$5 "quoted"'
    assert model["environment"]["LINES"] == "a\nb: c #"


def test_numbers_come_from_the_environment_file(mesh: ComposeMesh) -> None:
    """`.env` overrides the defaults."""
    with (mesh.folder / ".env").open("a") as file:
        file.write("MODEL_REPLICAS=5\nMODEL_CPUS=0.5\nSTART_PERIOD=90s\n")
    model = json.loads(mesh.compose("config", "--format", "json"))["services"]["model"]
    assert model["deploy"]["replicas"] == 5
    assert model["deploy"]["resources"]["limits"]["cpus"] == 0.5
    assert model["healthcheck"]["start_period"] == "1m30s"


def test_the_gateway_is_on_this_machine_only(mesh: ComposeMesh) -> None:
    """HTTP and gRPC, on the ports that `.env` says."""
    gateway = json.loads(mesh.compose("config", "--format", "json"))["services"]["gateway"]
    found = {port["target"]: (port["host_ip"], port["published"]) for port in gateway["ports"]}
    assert found == {
        8000: ("127.0.0.1", str(mesh.port)),
        9000: ("127.0.0.1", str(mesh.grpc_port)),
    }


def test_gpus_are_asked_for_with_the_second_file_only(mesh: ComposeMesh) -> None:
    """A machine without GPUs leaves that file out."""
    both = ("-f", "compose.yaml", "-f", "compose.gpu.yaml", "config", "--format", "json")
    plain = json.loads(mesh.compose("config", "--format", "json"))["services"]["model"]
    model = json.loads(mesh.compose(*both))["services"]["model"]
    assert "reservations" not in plain["deploy"]["resources"]
    (device,) = model["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["count"]) == ("nvidia", 1)
