"""Which files of the user's source folder go into the mesh, with .dockerignore's pattern rules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Never copied, whatever the patterns say: other people's code, caches, and secrets.
_FOLDERS = frozenset(
    {
        *(".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__"),
        *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ipynb_checkpoints"),
    }
)
_SECRETS = re.compile(r".*\.(pem|key|p12|pfx|pyc|pyo)|\.env(\..*)?|\.netrc|id_(rsa|ed25519|ecdsa)")
_IGNORE_FILES = (".meshgenignore", ".dockerignore")


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of an ignore file."""

    regex: re.Pattern[str]
    keeps: bool


def source_files(root: Path, *, without: Sequence[Path] = ()) -> dict[str, Path]:
    """The files to copy by their path below `root`, sorted; `without` are folders to leave out."""
    patterns = _read_patterns(root)
    found = {
        path.relative_to(root).as_posix(): path
        for path in _walk(root, {folder.resolve() for folder in without})
    }
    return {name: path for name, path in sorted(found.items()) if not is_ignored(name, patterns)}


def parse_patterns(text: str) -> list[Pattern]:
    """The patterns of an ignore file, in order."""
    lines = (line.strip() for line in text.splitlines())
    return [
        Pattern(_compile(line.removeprefix("!").strip()), keeps=line.startswith("!"))
        for line in lines
        if line and not line.startswith("#")
    ]


def is_ignored(name: str, patterns: Sequence[Pattern]) -> bool:
    """Whether the last pattern that matches the path, or a folder above it, leaves it out."""
    parts = name.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for pattern in patterns:
        if any(pattern.regex.fullmatch(prefix) for prefix in prefixes):
            ignored = not pattern.keeps
    return ignored


def _read_patterns(root: Path) -> list[Pattern]:
    for name in _IGNORE_FILES:
        if (root / name).is_file():
            return parse_patterns((root / name).read_text(encoding="utf-8", errors="replace"))
    return []


def _walk(root: Path, without: set[Path]) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        here = Path(folder)
        folders[:] = [name for name in folders if _enters(root, here / name, without)]
        yield from (here / name for name in files if _takes(here / name))


def _enters(root: Path, folder: Path, without: set[Path]) -> bool:
    if folder.name in _FOLDERS or folder.resolve() in without:
        return False
    if folder.name.endswith(".egg-info") or folder == root / "certs":
        return False
    # A virtual environment, whatever its name.
    if (folder / "pyvenv.cfg").is_file():
        return False
    # Another mesh that was built into this source folder.
    return not ((folder / "mesh.json").is_file() and (folder / "compose.yaml").is_file())


def _takes(path: Path) -> bool:
    """Regular files and links to them; no sockets, no dangling links, no secrets."""
    return path.is_file() and _SECRETS.fullmatch(path.name) is None


def _compile(pattern: str) -> re.Pattern[str]:
    """Docker's rules: anchored at the root; `**` crosses folders, `*` and `?` do not."""
    tokens = re.findall(r"\*\*/?|\*|\?|\[[^]]+\]|\\.|.", pattern.strip("/"), re.DOTALL)
    return re.compile("".join(map(_token, tokens)), re.DOTALL)


def _token(token: str) -> str:
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if token in special:
        return special[token]
    if token.startswith("[") and len(token) > 1:
        return token.replace("\\", "\\\\")
    return re.escape(token.removeprefix("\\") or token)
