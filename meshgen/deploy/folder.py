"""The folder of a local mesh: its mesh.json, its service specs and its replicas' sockets."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from meshgen.settings import Settings, socket_folder
from meshgen.spec import MeshSpec, ServiceSpec
from meshgen.specfiles import edition_of, service_files, write_mesh, write_service
from meshgen.stub import DeploymentStub

# What a socket's path may have in all is 107 bytes; below the folder it needs up to 65.
_LONGEST_FOLDER = 40
_PREFIX = "meshgen-"
# The file that says whose a folder is, by process id.
_OWNER = "owner"


class MeshFolder:
    """A 0700 folder that only this user can enter. Owns it; `remove` deletes it."""

    def __init__(self) -> None:
        parent = tempfile.gettempdir()
        if len(parent) > _LONGEST_FOLDER - len("/meshgen-12345678"):
            parent = "/tmp"
        _remove_abandoned(Path(parent))
        self.path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        (self.path / _OWNER).write_text(str(os.getpid()))
        (self.path / "values").mkdir()

    @property
    def mesh_file(self) -> Path:
        """Where `mesh.json` is."""
        return self.path / "mesh.json"

    @property
    def resolver(self) -> str:
        """How the processes of this mesh find each other."""
        return f"unix:{self.path}"

    def mesh_file_of(self, number: int) -> Path:
        """Where the replicas of one deploy have theirs."""
        return self._generation(number) / "mesh.json"

    def write_mesh(self, mesh: MeshSpec, number: int | None = None) -> None:
        """Tell processes which applications there are: those of one deploy, or all others."""
        write_mesh(mesh, self.mesh_file if number is None else self.mesh_file_of(number))

    def write_service(self, spec: ServiceSpec, number: int) -> Path:
        """Write what the replicas of a deployment are told by one deploy; its folder."""
        folder = self._generation(number) / spec.stub.service
        folder.mkdir(parents=True)
        write_service(spec, folder)
        return folder

    def forget(self, number: int) -> None:
        """Delete what was written for a deploy of which nothing runs any more."""
        shutil.rmtree(self._generation(number), ignore_errors=True)

    def _generation(self, number: int) -> Path:
        return self.path / "deploys" / str(number)

    def socket(self, stub: DeploymentStub, replica_id: str) -> Path:
        """The socket of a replica."""
        folder = socket_folder(self.path, stub.id.app, stub.service)
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{replica_id}.sock"

    def settings(self, **given: object) -> Settings:
        """Settings of a process of this mesh."""
        common = Settings(
            mesh_file=self.mesh_file, resolver=self.resolver, spill_dir=self.path / "values"
        )
        return replace(common, **given)  # type: ignore[arg-type]  # fields of Settings

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


def rewrite_service(spec: ServiceSpec, folder: Path) -> str:
    """Tell a deployment's replicas something else, in one step: code and arguments stay.

    Returns the edition of the file.
    """
    content = service_files(spec)["service.json"]
    new = folder / "service.json.new"
    new.write_bytes(content)
    os.replace(new, folder / "service.json")
    return edition_of(content)


def _remove_abandoned(parent: Path) -> None:
    """Delete what owners that were killed could not."""
    for owner in parent.glob(f"{_PREFIX}*/{_OWNER}"):
        # Another user's, or one that is being deleted at this moment, is none of ours.
        with suppress(OSError, ValueError):
            if not _runs(int(owner.read_text())):
                shutil.rmtree(owner.parent, ignore_errors=True)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def child_environment(settings: Settings, env_vars: dict[str, str]) -> dict[str, str]:
    """The environment of a process that imports what this one does."""
    paths = [entry or os.getcwd() for entry in sys.path]
    return {
        # A process that crashes in native code shows where.
        "PYTHONFAULTHANDLER": "1",
        **os.environ,
        **env_vars,
        **settings.environment(),
        "PYTHONPATH": os.pathsep.join(paths),
        # Lines appear when they are printed, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
    }
