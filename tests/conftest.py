"""Builds applications and runs them in Docker Compose; always takes down what it brought up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, settings

from tests.compose.mesh import ComposeError, ComposeMesh, build_mesh, run

# How long one example takes says more of what else the machine does at that moment. In CI the
# examples are the same each time: what it says is about the change, and new ones are tried by hand.
settings.register_profile(
    "meshgen",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("meshgen")

StartMesh = Callable[[str], ComposeMesh]


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Skips where there is no Docker engine with Compose; fails there if one must be."""
    try:
        run("docker", "info")
        run("docker", "compose", "version")
    except (ComposeError, FileNotFoundError) as exc:
        sentence = f"no Docker engine with Compose v2 answers here, so no container was run: {exc}"
        if os.environ.get("CI") or os.environ.get("MESHGEN_REQUIRE_DOCKER") == "1":
            pytest.fail(sentence)
        pytest.skip(sentence)


@pytest.fixture(scope="module")
def start_mesh(
    docker_engine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartMesh]:
    """Builds a target, brings it up, and gives back the mesh."""
    with ExitStack() as stack:

        def start(target: str) -> ComposeMesh:
            mesh = build_mesh(target, tmp_path_factory.mktemp("mesh"))
            stack.callback(mesh.down)
            mesh.up()
            return mesh

        yield start
