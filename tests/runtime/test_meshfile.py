"""`mesh.json` as a running process reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.errors import NoSuchApplicationError, NotServingError
from meshgen.runtime.meshfile import MeshFile
from meshgen.spec import AppSpec, MeshSpec
from meshgen.specfiles import write_mesh
from meshgen.stub import DeploymentStub, MethodStub
from meshgen.types import DeploymentID


def _mesh(*methods: str, app: str = "shop") -> MeshSpec:
    stub = DeploymentStub(
        id=DeploymentID(app, "Cart"),
        service="cart",
        methods={name: MethodStub(name=name) for name in methods},
    )
    spec = AppSpec(name=app, ingress="Cart", route_prefix="/", stubs={"Cart": stub})
    return MeshSpec(apps={app: spec})


def test_the_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    """Not before: a process may start first."""
    file = MeshFile(tmp_path / "mesh.json")
    write_mesh(_mesh("add"), tmp_path / "mesh.json")
    assert file.current() == _mesh("add")


def test_the_file_is_parsed_once_as_long_as_it_stays(tmp_path: Path) -> None:
    """A look costs one `stat`."""
    write_mesh(_mesh("add"), tmp_path / "mesh.json")
    file = MeshFile(tmp_path / "mesh.json")
    assert file.current() is file.current()


def test_a_new_file_is_read_again(tmp_path: Path) -> None:
    """Applications come and go while processes run."""
    write_mesh(_mesh("add"), tmp_path / "mesh.json")
    file = MeshFile(tmp_path / "mesh.json")
    file.current()
    write_mesh(_mesh("add", "remove"), tmp_path / "mesh.json")
    assert set(file.current().apps["shop"].stubs["Cart"].methods) == {"add", "remove"}


def test_an_application_that_was_redeployed_is_found_as_it_is_now(tmp_path: Path) -> None:
    """Its methods may be others than those of the one that was known."""
    target = DeploymentID("shop", "Cart")
    write_mesh(_mesh("add"), tmp_path / "mesh.json")
    file = MeshFile(tmp_path / "mesh.json")
    assert set(file.current().find(target).methods) == {"add"}
    write_mesh(_mesh("put"), tmp_path / "mesh.json")
    assert set(file.current().find(target).methods) == {"put"}


def test_a_mesh_whose_file_is_gone_was_shut_down(tmp_path: Path) -> None:
    """Handles may outlive it."""
    with pytest.raises(NotServingError, match="was shut down"):
        MeshFile(tmp_path / "mesh.json").current()


def test_an_application_that_was_deleted_is_not_found(tmp_path: Path) -> None:
    """However well it was known."""
    write_mesh(_mesh("add"), tmp_path / "mesh.json")
    file = MeshFile(tmp_path / "mesh.json")
    file.current()
    write_mesh(MeshSpec(), tmp_path / "mesh.json")
    with pytest.raises(NoSuchApplicationError, match="shop"):
        file.current().ingress_of("shop")
