"""`mesh.json` as a running process reads it: again when it has changed."""

from __future__ import annotations

from pathlib import Path

from meshgen.errors import NotServingError
from meshgen.spec import MeshSpec
from meshgen.specfiles import read_mesh


class MeshFile:
    """The mesh as its file says it now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._mesh = MeshSpec()

    def current(self) -> MeshSpec:
        """The mesh; read again if the file is another than last time.

        Raises:
            NotServingError: There is no file: the mesh was shut down.
        """
        try:
            stat = self._path.stat()
        except FileNotFoundError as exc:
            raise NotServingError(f"this mesh was shut down: {self._path} is gone") from exc
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._mesh = read_mesh(self._path)
            self._stamp = stamp
        return self._mesh
