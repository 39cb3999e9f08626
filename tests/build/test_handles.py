"""What type checkers see of an application's handles."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.build.loader import load_target
from meshgen.build.project import build_project
from tests.build.conftest import WriteApp

ROOT = Path(__file__).parents[2]

# Each line with a mistake says what mypy must find there; each `is` what an expression is.
APP = """
from __future__ import annotations

import enum
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NewType, cast

from meshgen import serve

if TYPE_CHECKING:
    from hello_handles import FrontHandle, InnerHandle, WordsHandle

Name = NewType("Name", str)


class Mode(enum.Enum):
    FAST = 1


@dataclass
class Item:
    name: str


@serve.deployment
class Inner:
    def find(
        self, name: str | None, limit: int = 3, /, *, deep: Literal["a", Mode.FAST] = "a"
    ) -> list[Item]:
        return []

    async def other(
        self, item: Item, *more: Annotated[int, "n"], by: Callable[[int], str] | None = None
    ) -> dict[str, tuple[int, ...]]:
        return {}

    def app(self, name: Name, none: tuple[()] = (), **rest: list) -> type[Item]:  # type-arg
        return Item

    def unresolved(self, x: Missing, y: int) -> int:  # name-defined
        return y

    def count(self, to: int) -> Iterator[Item]:
        yield Item("")

    def _hidden(self) -> None:
        pass


@serve.deployment
async def words(text: str) -> AsyncIterator[str]:
    yield text


@serve.deployment
class Front:
    def __init__(self, inner: InnerHandle, words: WordsHandle) -> None:
        self.inner = inner
        self.words = words

    async def __call__(self, name: str) -> str:
        inner = self.inner
        found = inner.find.options(timeout_s=3).remote(name, 5, deep=Mode.FAST)
        reveal_type(found)  # is meshgen.serve.response.DeploymentResponse[list[app.Item]]
        other = inner.other.remote((await found)[0], 1, by=str)
        reveal_type(await other)  # is dict[str, tuple[int, ...]]
        async for item in inner.options(stream=True).count.remote(3):
            reveal_type(item)  # is app.Item
        async for word in self.words.options(stream=True).remote("a b"):
            reveal_type(word)  # is str
        inner.count.options(stream=True).remote(3)
        inner.app.remote(Name("x"), key=[1])
        inner.find.remote(3)  # arg-type
        inner.fnd  # attr-defined
        inner.find.remote("a", depth=3)  # call-arg
        inner.count.remote(3)  # attr-defined
        inner.other.remote(found)  # arg-type
        inner.options(stream=True).find  # attr-defined
        inner.find.options(timeout=3)  # call-arg
        inner.unresolved.remote("x", 1)
        return name


app = Front.bind(Inner.options(num_replicas=2).bind(), words.bind())

if __name__ == "__main__":
    front = cast("FrontHandle", serve.run(app))
    first = front.remote("x")
    reveal_type(front.remote(first).result())  # is str
    front.remote()  # call-arg
    reveal_type(app)  # is meshgen.serve.deployment.Application
    Front.bnd()  # attr-defined
"""


def _handles(write_app: WriteApp, tmp_path: Path) -> tuple[Path, Path]:
    """The application's folder, and that of its handles."""
    folder = write_app(APP)
    build_project(load_target(f"{folder / 'app.py'}:app"), tmp_path / "out")
    return folder, tmp_path / "out" / "handles"


def test_each_deployment_has_a_handle(write_app: WriteApp, tmp_path: Path) -> None:
    """With its public methods; what no hint says is Any."""
    _, handles = _handles(write_app, tmp_path)
    text = (handles / "hello_handles.pyi").read_text()
    public = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    assert [name for name in public if name[0] != "_"] == [
        "InnerHandle",
        "WordsHandle",
        "FrontHandle",
    ]
    assert "_hidden" not in text
    assert "def remote(self, x: _Given[_t.Any], y: _Given[_t.Any]) -> _Response[_t.Any]" in text


@pytest.mark.slow
def test_mypy_knows_what_calls_take_and_return(write_app: WriteApp, tmp_path: Path) -> None:
    """A response for a value will do; wrong arguments and misspelt methods are errors."""
    folder, handles = _handles(write_app, tmp_path)
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nplugins = meshgen.mypyplugin\n")
    options = ["--strict", "--follow-imports=silent", "--config-file", str(config)]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "app.py", handles / "hello_handles.pyi"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": f"{handles}{os.pathsep}{ROOT}", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "hello_handles.pyi:" not in ran.stdout
    line = r"^app\.py:(\d+): (?:error: .*\[([\w-]+)\]|note: Revealed type is \"(.*)\")$"
    told = {
        (int(number), error or revealed)
        for number, error, revealed in re.findall(line, ran.stdout, re.MULTILINE)
    }
    assert told == {
        (number, said.group(1))
        for number, text in enumerate(APP.splitlines(), start=1)
        if (said := re.search(r"  # (?:is )?(.*)$", text))
    }
