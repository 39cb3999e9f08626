"""Tokens that open the gate, and those that do so no more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshgen.runtime.tokengate import TokenGate


def _write(path: Path, text: str, *, age: float = 0.0) -> None:
    path.write_text(text)
    path.chmod(0o600)
    found = path.stat()
    os.utime(path, (found.st_atime, found.st_mtime - age))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with two tokens, which was written some time ago."""
    _write(tmp_path / "tokens", "one\ntwo\n", age=60)
    return tmp_path / "tokens"


@pytest.mark.parametrize("given", ["Bearer one", "Bearer two", "bearer two", "BEARER  one "])
def test_a_token_of_the_file_is_let_through(path: Path, given: str) -> None:
    """Any of them; the name of the scheme is written in any way."""
    assert TokenGate(path).admits(given)


@pytest.mark.parametrize(
    "given", ["", "one", "Bearer", "Bearer ", "Bearer on", "Bearer onee", "Basic one", "Bearer ü"]
)
def test_all_else_is_not(path: Path, given: str) -> None:
    """Half a token, none, or another scheme."""
    assert not TokenGate(path).admits(given)


@pytest.mark.parametrize("age", [0.0, 60.0])
def test_tokens_change_with_their_file(path: Path, age: float) -> None:
    """A new one works, and one that was taken out does not, also within one tick of the clock."""
    gate = TokenGate(path)
    for old, new in [("one", "six"), ("six", "ten"), ("ten", "one")]:
        assert gate.admits(f"Bearer {old}")
        _write(path, f"{new}\n", age=age)
        assert gate.admits(f"Bearer {new}") and not gate.admits(f"Bearer {old}")


def test_without_a_file_nobody_is_let_through(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Until there is one again; the log says so once, and says no token."""
    gate = TokenGate(path)
    path.unlink()
    assert not gate.admits("Bearer one") and not gate.admits("Bearer ")
    _write(path, "one\n")
    assert gate.admits("Bearer one")
    assert caplog.text.count("all requests are refused") == 1
    assert "Bearer" not in caplog.text
