"""The output folder: what is in it, whether it may be replaced, and replacing it in one step.

A folder is ours if its mesh.json lists the hash of every file that was generated. Whatever else is
in there (compose.override.yaml, .env) belongs to the user and stays.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meshgen.errors import BuildError
from meshgen.specfiles import LOCK

MANIFEST = "mesh.json"
CERTS = "certs"
# Read by the next build, and kept in version control: it may be older or newer than the rest.

# The content of a generated file, or the file that it is a copy of.
Content = bytes | Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFolder:
    """An output folder as it was found; `generated` has the hashes that mesh.json lists."""

    path: Path
    generated: Mapping[str, str] = field(default_factory=dict)

    @property
    def certs(self) -> Path | None:
        """The certificates made by an earlier build."""
        return self.path / CERTS if self.generated and (self.path / CERTS).is_dir() else None

    def edited(self) -> list[str]:
        """The generated files that somebody has changed since."""
        return [
            name
            for name, digest in sorted(self.generated.items())
            if name != LOCK
            and (self.path / name).is_file()
            and digest_of(self.path / name) != digest
        ]

    def users(self) -> list[str]:
        """The files that we did not generate, and certificates apart."""
        return sorted(
            name
            for name in _names(self.path)
            if name not in (MANIFEST, LOCK)
            and name not in self.generated
            and not name.startswith(f"{CERTS}/")
            and "__pycache__" not in name.split("/")
        )


def inspect_output(path: Path) -> OutputFolder:
    """Look at a folder that is to be written.

    Raises:
        BuildError: It holds something else, or is no folder.
    """
    if not path.exists():
        return OutputFolder(path=path)
    if not path.is_dir():
        raise BuildError([f"{path} is a file; give a folder to write the mesh to"])
    if {entry.name for entry in path.iterdir()} <= {LOCK}:
        return OutputFolder(path=path)
    generated = _read_manifest(path / MANIFEST)
    if generated is None:
        raise BuildError(
            [f"{path} holds something that meshgen did not write; give a new or an empty folder"]
        )
    return OutputFolder(path=path, generated=generated)


def check_replaceable(folder: OutputFolder, files: Mapping[str, Content]) -> None:
    """Refuse to overwrite what somebody has written by hand.

    Raises:
        BuildError: Names every such file.
    """
    mine = [
        name
        for name in folder.users()
        if name in files and digest_of(folder.path / name) != digest_of(files[name])
    ]
    touched = sorted({*folder.edited(), *mine})
    if touched:
        raise BuildError(
            [
                f"{folder.path / name} was edited by hand and would be overwritten; move the "
                "change to compose.override.yaml or the application, or use --force to lose it"
                for name in touched
            ]
        )


def replace_output(
    folder: OutputFolder, files: Mapping[str, Content], write_certs: Callable[[Path], None]
) -> None:
    """Write a whole new folder beside the old one, then swap them.

    Whatever fails before the swap leaves the old folder as it was.
    """
    folder.path.parent.mkdir(parents=True, exist_ok=True)
    new = _sibling(folder.path, "new")
    try:
        for name, content in files.items():
            _write(new / name, content)
        _open_folders(new)
        write_certs(new / CERTS)
        for name in folder.users():
            if name not in files:
                _keep(folder.path / name, new / name)
        _swap(new, folder.path)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def digest_of(content: Content) -> str:
    """SHA-256 in hexadecimal."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_manifest(path: Path) -> dict[str, str] | None:
    try:
        files = json.loads(path.read_bytes())["meshgen"]["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return files if isinstance(files, dict) else None


def _names(root: Path) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        links = [name for name in folders if (here / name).is_symlink()]
        yield from ((here / name).relative_to(root).as_posix() for name in [*files, *links])


def _write(path: Path, content: Content) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    executable = isinstance(content, Path) and content.stat().st_mode & 0o100
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        shutil.copyfile(content, path)
    path.chmod(0o755 if executable else 0o644)


def _open_folders(root: Path) -> None:
    # Images take modes over, and containers run as somebody else: no umask may close a folder.
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o755)


def _keep(old: Path, new: Path) -> None:
    """The very same file at its new place: a second link where possible, else a copy."""
    new.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(old, new, follow_symlinks=False)
    except OSError:
        shutil.copy2(old, new, follow_symlinks=False)


def _sibling(path: Path, what: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f".{path.name}.{what}-", dir=path.parent))


def _swap(new: Path, path: Path) -> None:
    if not path.exists():
        new.rename(path)
        return
    old = _sibling(path, "old")
    path.rename(old)  # onto an empty folder, which it replaces
    try:
        new.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
