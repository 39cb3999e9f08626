"""`mesh.json` as a running process reads it: again when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from meshgen.errors import NoSuchApplicationError
from meshgen.spec import MeshSpec, read_mesh

T = TypeVar("T")


class MeshFile:
    """The mesh as its file says it now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = (0, 0)
        self._mesh = MeshSpec()

    def current(self) -> MeshSpec:
        """The mesh; read again if the file is another than last time."""
        stat = self._path.stat()
        stamp = (stat.st_mtime_ns, stat.st_ino)
        if stamp != self._stamp:
            self._mesh = read_mesh(self._path)
            self._stamp = stamp
        return self._mesh

    def search(self, look: Callable[[MeshSpec], T]) -> T:
        """What `look` finds, in the file as it is now if not in the mesh that is known.

        Raises:
            NoSuchApplicationError: It is not there.
        """
        try:
            return look(self._mesh)
        except NoSuchApplicationError:
            return look(self.current())
