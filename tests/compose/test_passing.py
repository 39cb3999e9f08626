"""Values that are passed on between real containers: they go past whoever passes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compose.mesh import ComposeMesh
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = Path(__file__).parent.parent / "apps" / "passing" / "app.py"
_SIZE = 64_000_000
_SCRAPE = (
    "import urllib.request as r; print(r.urlopen('http://maker:9464/metrics').read().decode())"
)


@pytest.fixture(scope="module")
def mesh(start_mesh: StartMesh) -> ComposeMesh:
    """The application of tests/apps/passing, up and healthy."""
    return start_mesh(f"{APP}:app")


@pytest.mark.parametrize("way", ["chained", "referred", "put"])
def test_a_large_value_does_not_go_through_who_passes_it_on(mesh: ComposeMesh, way: str) -> None:
    """64 MB from one container to another move less than 1 MB through the ingress's."""
    answer = mesh.http("/", {"way": way, "size": _SIZE}).json()
    assert answer["size"] == _SIZE
    assert answer["moved"] < 1_000_000


def test_an_awaited_value_does(mesh: ComposeMesh) -> None:
    """The counters count: there and on are two times its size."""
    answer = mesh.http("/", {"way": "awaited", "size": _SIZE}).json()
    assert answer["size"] == _SIZE
    assert answer["moved"] > 2 * _SIZE


def test_replicas_tell_prometheus_what_they_keep(mesh: ComposeMesh) -> None:
    """Within the mesh's own network; once nobody needs a value, it is gone."""
    for _ in range(20):
        figures = mesh.compose("exec", "-T", "taker", "python", "-c", _SCRAPE)
        assert 'meshgen_stored_values{application="' in figures
        stored = [line for line in figures.splitlines() if line.startswith("meshgen_stored_bytes{")]
        if [line.rpartition(" ")[2] for line in stored] == ["0.0", "0.0"]:
            return
    raise AssertionError(f"it still keeps values:\n{figures}")
