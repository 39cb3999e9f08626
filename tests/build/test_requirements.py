"""A user's requirements file, as an image can install it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from meshgen.build.requirements import RUNTIME, name_of, problem_with, read_requirements


def test_comments_and_meshgen_itself_are_left_out(tmp_path: Path) -> None:
    """meshgen comes as a wheel, whichever version the file asks for."""
    path = tmp_path / "requirements.txt"
    path.write_text("# what we need\nnumpy>=2  # arrays\n\nmeshgen==0.0.1\nrequests\\\n>=2\n")
    assert read_requirements(path).lines == ("numpy>=2", "requests >=2")


def test_included_files_are_read_once(tmp_path: Path) -> None:
    """`-r` is followed, also in a circle; a file that is missing is a problem with its line."""
    (tmp_path / "requirements.txt").write_text("-r more.txt\nb\n-r none.txt\n")
    (tmp_path / "more.txt").write_text("a\n-r requirements.txt\n")
    found = read_requirements(tmp_path / "requirements.txt")
    assert found.lines == ("a", "b")
    (problem,) = found.problems
    assert problem.startswith("requirements.txt, line 3: there is no file none.txt")


def test_there_need_not_be_a_file(tmp_path: Path) -> None:
    """Without one there is nothing to install."""
    assert read_requirements(tmp_path / "requirements.txt").lines == ()


@pytest.mark.parametrize("line", ["./wheel", "../a", "-e .", "dist/a.whl", "/a/b.whl", "-c x"])
def test_what_an_image_cannot_reach_is_a_problem(line: str) -> None:
    """Paths lead to this machine, which no image sees."""
    assert problem_with(line) is not None


@pytest.mark.parametrize(
    "line",
    ["a", "a[x]>=1,<2", "a; python_version<'3'", "a @ https://host/b.whl", "--index-url http://x"],
)
def test_what_an_index_or_url_has_is_fine(line: str) -> None:
    """Names with versions, extras and markers, URLs, and where to look."""
    assert problem_with(line) is None


def test_names_are_compared_as_pip_does() -> None:
    """Case, dots, dashes and underscores make no difference."""
    assert name_of("Some_Thing.Else[extra]==1") == "some-thing-else"


def test_an_image_has_all_that_a_service_imports() -> None:
    """Of what meshgen requires, only the tools of this machine are left out."""
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    left_out = {name_of(line) for line in project["dependencies"]} - {*RUNTIME}
    assert left_out == {"click", "cryptography", "grpcio-tools", "jinja2", "watchfiles"}
