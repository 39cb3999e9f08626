"""Whether the code of a program is what it was: the source files of its own modules."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import meshgen


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStamp:
    """What replicas that start now would find: equal ones would run the same code alike.

    Modules that only replicas have imported are not in it.
    """

    # By file: when it was written, and its size.
    files: Mapping[str, tuple[int, int]]
    path: tuple[str, ...]
    environment: Mapping[str, str]


def code_stamp() -> CodeStamp:
    """The stamp of this program, as it is on disk now."""
    return CodeStamp(
        files={file: _stat(file) for file in _own_files()},
        path=tuple(sys.path),
        environment=dict(os.environ),
    )


def _stat(file: str) -> tuple[int, int]:
    """Zeroes for one that is gone."""
    with suppress(OSError):
        found = os.stat(file)
        return found.st_mtime_ns, found.st_size
    return 0, 0


def _own_files() -> Iterator[str]:
    """The files of the modules that are neither Python's, nor installed, nor ours."""
    foreign = _foreign_folders()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and not file.startswith(foreign):
            yield file


def _foreign_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_paths()[name] for name in names]
    return tuple(os.path.join(each, "") for each in (*folders, os.path.dirname(meshgen.__file__)))
