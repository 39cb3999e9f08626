"""A mesh that was built, as the commands about it find it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from meshgen.build.output import MANIFEST
from meshgen.errors import TargetError
from meshgen.naming import ServiceName
from meshgen.specfiles import read_mesh
from meshgen.tasks.home import APP


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltMesh:
    """Its name as a Compose project, and its deployments."""

    project: str
    deployments: frozenset[str]


def built_mesh(out: Path) -> BuiltMesh:
    """Read what a folder holds.

    Raises:
        TargetError: It holds no mesh.
    """
    try:
        mesh = read_mesh(out / MANIFEST)
        app = next(app for name, app in mesh.apps.items() if name != APP)
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as exc:
        raise TargetError(
            f"{out} holds no mesh that can be read; name a folder that meshgen build has written"
        ) from exc
    names = [name for each in mesh.apps.values() for name in each.stubs]
    return BuiltMesh(project=ServiceName(app.name), deployments=frozenset(names))
