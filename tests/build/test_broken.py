"""Mistakes of users, a file of tests/broken/ each: what `meshgen build` says of them.

The docstring of each file says what is wrong, and then, after an empty line, all that the command
prints: where it ends with an error, or below the next steps where the mistake is only noted.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshgen.build.resources import package_folder
from meshgen.cli import main

FOLDER = Path(__file__).parent.parent / "broken"
BROKEN = sorted(FOLDER.glob("*.py"))
# What a summary ends with if there is nothing to note.
_LAST_STEP = "curl localhost:8000\n"


def _words(text: str) -> list[str]:
    """Text wherever its lines break, and whatever a version of Python underlines."""
    plain = re.sub(r"^[ ~^]+$", "", text, flags=re.MULTILINE)
    return plain.replace(str(FOLDER), "tests/broken").split()


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_mistake_is_told_in_the_words_of_its_file(path: Path, tmp_path: Path) -> None:
    """Nothing else is said, nothing is written, and the exit status says that it is a mistake."""
    expected = path.read_text().split('"""')[1].partition("\n\n")[2]
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["build", f"{path}:app", "-o", str(out)])
    told = ran.stderr if ran.exit_code else ran.stdout.partition(_LAST_STEP)[2] + ran.stderr
    assert _words(told) == _words(expected)
    is_error = "error: " in expected
    assert ran.exit_code == (2 if is_error else 0)
    assert out.exists() != is_error
    assert str(package_folder()) not in ran.output


def test_there_are_thirty_of_them() -> None:
    """As many kinds of mistakes as people make in an afternoon."""
    assert len(BROKEN) >= 30
