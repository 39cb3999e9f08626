"""Where the generator's own files are: templates, protos and what goes into images."""

from __future__ import annotations

from pathlib import Path

import meshgen
from meshgen.errors import MeshError

# Folders beside the package in a checkout, and inside of it (`meshgen/_data`) in a wheel.
FOLDERS = ("docker", "protos", "templates")


def package_folder() -> Path:
    """The folder of the `meshgen` package."""
    return Path(meshgen.__file__).parent


def resource(folder: str) -> Path:
    """One of `FOLDERS`.

    Raises:
        MeshError: The installation is incomplete.
    """
    package = package_folder()
    for place in (package / "_data" / folder, package.parent / folder):
        if place.is_dir():
            return place
    raise MeshError(
        f"this installation of meshgen has no {folder!r} folder beside {package}; install it again"
    )
