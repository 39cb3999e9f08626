"""Whether the code of a program is what it was."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import meshgen
from meshgen.deploy.codestamp import code_stamp


@pytest.fixture
def own_module(tmp_path: Path) -> Iterator[ModuleType]:
    """A module of the user's."""
    (tmp_path / "of_the_user.py").write_text("answer = 42\n")
    sys.path.insert(0, str(tmp_path))
    try:
        yield importlib.import_module("of_the_user")
    finally:
        sys.path.remove(str(tmp_path))
        del sys.modules["of_the_user"]


def test_it_is_another_once_a_source_file_is(own_module: ModuleType) -> None:
    """Be it written anew or deleted, and whoever has imported it."""
    before = code_stamp()
    assert code_stamp() == before
    path = Path(own_module.__file__ or "")
    path.write_text("answer = 43  # or so\n")
    changed = code_stamp()
    assert changed != before
    path.unlink()
    assert code_stamp() not in (before, changed)


def test_what_is_installed_is_not_looked_at(own_module: ModuleType) -> None:
    """Python's own modules, those of others, and ours."""
    files = code_stamp().files
    assert own_module.__file__ in files
    for foreign in (importlib, pytest, meshgen):
        assert foreign.__file__ not in files
