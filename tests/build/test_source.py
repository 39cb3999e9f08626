"""Which of the user's files are copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.build.source import is_ignored, parse_patterns, source_files


def _tree(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("")


def test_code_and_data_are_copied_and_private_things_never(tmp_path: Path) -> None:
    """Repositories, environments, caches, keys and other meshes stay where they are."""
    _tree(tmp_path, "app.py", "lib/words.txt", "lib/certs/__init__.py")
    _tree(tmp_path, ".git/config", ".venv/x", "lib/__pycache__/y.pyc", "certs/ca.pem", ".env")
    _tree(tmp_path, "my-env/pyvenv.cfg", "my-env/lib/site-packages/flask.py")
    _tree(tmp_path, "lib/server.key", "lib/id_rsa", "mine/mesh.json", "mine/compose.yaml", "out/z")
    found = source_files(tmp_path, without=[tmp_path / "out"])
    assert [*found] == ["app.py", "lib/certs/__init__.py", "lib/words.txt"]


@pytest.mark.parametrize("name", [".dockerignore", ".meshgenignore"])
def test_an_ignore_file_leaves_files_out(tmp_path: Path, name: str) -> None:
    """Either name works."""
    _tree(tmp_path, "app.py", "notes.md", "data/big.bin", "data/small.bin")
    (tmp_path / name).write_text("# comment\n*.md\ndata\n!data/small.bin\n")
    assert [*source_files(tmp_path)] == [name, "app.py", "data/small.bin"]


def test_a_dangling_link_is_left_out(tmp_path: Path) -> None:
    """Only what can be read can be copied."""
    _tree(tmp_path, "app.py")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert [*source_files(tmp_path)] == ["app.py"]


@pytest.mark.parametrize(
    ("pattern", "name", "ignored"),
    [
        ("*.log", "a.log", True),
        ("*.log", "folder/a.log", False),
        ("**/*.log", "a.log", True),
        ("**/*.log", "one/two/a.log", True),
        ("folder", "folder/one/a", True),
        ("folder/", "folder/a", True),
        ("/folder", "folder/a", True),
        ("folder/*", "folder/a", True),
        ("tests", "src/tests/a", False),
        ("**/tests", "src/tests/a", True),
        ("a?.txt", "ab.txt", True),
        ("a?.txt", "a/.txt", False),
        ("[ab].txt", "b.txt", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns_mean_what_docker_means(pattern: str, name: str, ignored: bool) -> None:
    """Anchored at the root, `**` across folders, a folder with all that is in it."""
    assert is_ignored(name, parse_patterns(pattern)) is ignored


def test_the_last_pattern_that_matches_decides() -> None:
    """A later one may take back an earlier one, and the other way round."""
    assert not is_ignored("a.md", parse_patterns("*.md\n!a.md"))
    assert is_ignored("a.md", parse_patterns("!a.md\n*.md"))
