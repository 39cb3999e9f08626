"""Pack this very meshgen as a wheel, offline, so that images build without a published release.

The archive is stored rather than compressed, with fixed times, so that its bytes depend on
nothing but the package's files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from meshgen import __version__
from meshgen.build.resources import FOLDERS, package_folder, resource

NAME = f"meshgen-{__version__}-py3-none-any.whl"
_INFO = f"meshgen-{__version__}.dist-info"
_EPOCH = (1980, 1, 1, 0, 0, 0)


def wheel_bytes() -> bytes:
    """The wheel's content."""
    files = dict(sorted({**_package(), **_data()}.items())) | _dist_info()
    record = "".join(_record_line(name, content) for name, content in files.items())
    files[f"{_INFO}/RECORD"] = f"{record}{_INFO}/RECORD,,\n".encode()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            wheel.writestr(entry, content)
    return archive.getvalue()


def _package() -> dict[str, bytes]:
    root = package_folder()
    return {
        f"meshgen/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in _files(root)
        if path.relative_to(root).parts[0] != "_data"
    }


def _data() -> dict[str, bytes]:
    return {
        f"meshgen/_data/{folder}/{path.relative_to(resource(folder)).as_posix()}": path.read_bytes()
        for folder in FOLDERS
        for path in _files(resource(folder))
    }


def _files(root: Path) -> Iterator[Path]:
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield path


def _dist_info() -> dict[str, bytes]:
    return {
        f"{_INFO}/METADATA": _metadata().encode(),
        f"{_INFO}/WHEEL": (
            b"Wheel-Version: 1.0\nGenerator: meshgen\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{_INFO}/entry_points.txt": b"[console_scripts]\nmeshgen = meshgen.cli:main\n",
    }


def _metadata() -> str:
    lines = ["Metadata-Version: 2.1", "Name: meshgen", f"Version: {__version__}"]
    lines += [f"Requires-Dist: {line}" for line in own_requirements()]
    return "\n".join(lines) + "\n"


def own_requirements() -> list[str]:
    """What meshgen's own distribution requires, without extras; nothing if it is not installed."""
    try:
        required = metadata.requires("meshgen") or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(line for line in required if "extra ==" not in line)


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"
