"""The file of tokens: what is read of it, and what is refused in a sentence."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from meshgen.errors import OptionError
from meshgen.tokenfile import read_tokens, write_new_token


def _file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_each_line_is_a_token(tmp_path: Path) -> None:
    """But for comments, blank lines and the space around it."""
    path = _file(tmp_path, "# of Ann\none\n\n  two \r\n  # old\nthree")
    assert read_tokens(path) == (b"one", b"two", b"three")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no token in it"),
        ("# none\n\n", "has no token in it"),
        ("good\na secret\n", "line 2 of the token file .* is no token"),
        ("gr\u00fcn\n", "line 1 of the token file .* is no token"),
    ],
)
def test_what_holds_no_token_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    """By its line, without a word of what stands in it."""
    with pytest.raises(OptionError, match=sentence) as caught:
        read_tokens(_file(tmp_path, text))
    assert "secret" not in str(caught.value) and "gr" not in str(caught.value).partition("/")[0]


def test_a_file_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    """A group may, as that of a service does."""
    with pytest.raises(OptionError, match="everybody can read .*chmod 600"):
        read_tokens(_file(tmp_path, "one\n", 0o644))
    assert read_tokens(_file(tmp_path, "one\n", 0o640)) == (b"one",)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the reason."""
    with pytest.raises(OptionError, match="nowhere cannot be read: No such file"):
        read_tokens(tmp_path / "nowhere")


def test_a_new_token_is_its_owners_alone(tmp_path: Path) -> None:
    """It differs each time, and is never put in the place of another."""
    for name in "ab":
        write_new_token(tmp_path / name)
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    tokens = {read_tokens(tmp_path / name) for name in "ab"}
    assert len(tokens) == 2 and all(len(token) >= 32 for (token,) in tokens)
    with pytest.raises(FileExistsError):
        write_new_token(tmp_path / "a")
