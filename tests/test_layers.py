"""Imports point down: held over the whole package, lazy imports inside of functions included."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import meshgen

_ROOT = Path(meshgen.__file__).parent
_FILES = sorted(path for path in _ROOT.rglob("*.py") if not path.name.endswith("_pb2.py"))

# From the bottom up. Packages stand for their modules; two on one line never import each other.
_LAYERS: list[set[str]] = [
    {"errors"},
    {"types"},
    {"stub", "items", "reply", "naming", "loopmail", "loopthread", "listener"}
    | {"edgelimits", "tokenfile", "tlsfiles"},
    {"serve", "graph", "spec", "specfiles", "edges", "arguments", "settings", "compat", "raybridge"}
    | {"tasks", "objectref", "objects", "objectrefgenerator", "passedstream"},
    {"typed"},
    {"runtime", "build"},
    {"deploy"},
    {"cli", "clibuilt", "cliedge", "clierrors", "connection", "testing", "api", "driver"}
    | {"mypyplugin", "__main__"},
]
_LEVEL = {part: level for level, layer in enumerate(_LAYERS) for part in layer}
# The places where users' imports lead to what runs a mesh: on first use.
_EXCEPTIONS = {("serve/__init__.py", "api"), ("tasks/home.py", "api")}

_CONTRACT = set().union(*_LAYERS[:4])
_FOREIGN = {"grpc", "jinja2", "click", "starlette", "uvicorn", "cryptography", "google"}


def _part(path: Path) -> str:
    """The layer's member that a file belongs to: its package, or itself."""
    return path.relative_to(_ROOT).with_suffix("").parts[0]


def _imports(path: Path) -> Iterator[str]:
    """Full names of all imported modules, but for those that only type checkers see."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo += ast.iter_child_nodes(node)


def _own(path: Path) -> Iterator[str]:
    """The parts of meshgen that a file imports."""
    for name in _imports(path):
        package, *rest = name.split(".")
        if package == "meshgen" and rest and rest[0] in _LEVEL:
            yield rest[0]


def _relative(path: Path) -> str:
    return path.relative_to(_ROOT).as_posix()


@pytest.mark.parametrize("path", _FILES, ids=_relative)
def test_imports_point_down(path: Path) -> None:
    """Never up, and never across between the runtime and the generator."""
    part = _part(path)
    if part in ("__init__", "v1"):  # the public names, and generated code
        return
    assert part in _LEVEL, f"{part} has no layer: give it one here"
    for imported in _own(path):
        if (_relative(path), imported) in _EXCEPTIONS or imported == part:
            continue
        assert _LEVEL[imported] <= _LEVEL[part], f"{_relative(path)} imports {imported}"
        assert {part, imported} != {"runtime", "build"}, f"{_relative(path)} imports {imported}"


@pytest.mark.parametrize("name", sorted(name for name, _ in _EXCEPTIONS))
def test_the_exceptions_are_lazy(name: str) -> None:
    """They reach `meshgen.api` inside of functions only."""
    assert "api" in _own(_ROOT / name)
    tree = ast.parse((_ROOT / name).read_text())
    eager = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert not [node for node in eager if "api" in ast.unparse(node)]


@pytest.mark.parametrize("path", [p for p in _FILES if _part(p) in _CONTRACT], ids=_relative)
def test_the_contract_imports_no_foreign_machinery(path: Path) -> None:
    """What users import and what both sides agree on needs no gRPC and no generator."""
    assert not {name.split(".")[0] for name in _imports(path)} & _FOREIGN


@pytest.mark.parametrize("path", [p for p in _FILES if _part(p) == "typed"], ids=_relative)
def test_the_typed_core_knows_protobuf_and_nothing_that_moves_it(path: Path) -> None:
    """Messages are values: no gRPC, no HTTP, no templates."""
    assert not {name.split(".")[0] for name in _imports(path)} & (_FOREIGN - {"google"})


@pytest.mark.parametrize("path", _FILES, ids=_relative)
def test_a_file_is_short(path: Path) -> None:
    """One noun each: split at 400 lines."""
    assert len(path.read_text().splitlines()) <= 400


def test_importing_serve_is_light() -> None:
    """A module that declares deployments pays for nothing that it does not use."""
    heavy = sorted({*_FOREIGN - {"google"}, "google.protobuf", "meshgen.runtime", "meshgen.build"})
    code = f"import meshgen.serve, sys; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
