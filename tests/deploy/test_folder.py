"""The folder of a local mesh."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

from meshgen.deploy.folder import MeshFolder, child_environment
from meshgen.graph import build_graph
from meshgen.settings import Settings
from meshgen.spec import MeshSpec, app_spec, service_specs
from meshgen.specfiles import read_mesh, read_service
from tests.apps.shapes import Leaf, diamond

# What `bind` of a Unix socket takes, without the closing zero.
LONGEST_PATH = 107


def test_only_this_user_can_enter_and_nothing_stays() -> None:
    """0700, and gone after `remove`, twice."""
    folder = MeshFolder()
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    folder.remove()
    folder.remove()
    assert not folder.path.exists()


def test_what_is_written_is_what_processes_read() -> None:
    """The mesh, and each service in a folder for each time it is deployed."""
    graph = build_graph(diamond, app="shop")
    folder = MeshFolder()
    try:
        mesh = MeshSpec(apps={"shop": app_spec(graph, "/shop")})
        folder.write_mesh(mesh)
        assert read_mesh(folder.mesh_file) == mesh
        spec = service_specs(graph)[0]
        first, second = folder.write_service(spec, 0), folder.write_service(spec, 1)
        assert first != second
        assert read_service(second).stub == spec.stub
    finally:
        folder.remove()


def test_a_socket_s_path_is_never_too_long() -> None:
    """Whatever the names; and names that differ at their end only stay apart."""
    folder = MeshFolder()
    try:
        paths = set()
        for name in ("x" * 62 + "a", "x" * 62 + "b"):
            graph = build_graph(Leaf.options(name=name).bind(), app="a" * 63)
            paths.add(folder.socket(graph.ingress.stub, "12345"))
        assert len(paths) == 2
        assert max(len(os.fsencode(path)) for path in paths) <= LONGEST_PATH
    finally:
        folder.remove()


def test_a_process_imports_what_this_one_does() -> None:
    """The path of imports, the user's variables and the mesh's own, which win."""
    settings = Settings(mesh_file=Path("mesh.json"), resolver="unix:/run/mesh")
    given = child_environment(settings, {"GREETING": "Hola", "MESHGEN_RESOLVER": "forged"})
    assert given["PYTHONPATH"].split(os.pathsep) == [entry or os.getcwd() for entry in sys.path]
    assert (given["GREETING"], given["MESHGEN_RESOLVER"]) == ("Hola", "unix:/run/mesh")
    assert Settings.from_environment(given) == settings


def test_what_a_killed_owner_left_is_deleted_by_the_next() -> None:
    """Its processes are gone, but nobody was there to remove its folder; a living one's stays."""
    living, abandoned = MeshFolder(), MeshFolder()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (abandoned.path / "owner").write_text(str(ended.pid))
    folder = MeshFolder()
    try:
        assert not abandoned.path.exists()
        assert living.path.exists()
    finally:
        folder.remove()
        living.remove()
