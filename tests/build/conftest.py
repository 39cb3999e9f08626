"""Applications written on the spot, and an interpreter left as it was."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

WriteApp = Callable[..., Path]

HELLO = """
from meshgen import serve


@serve.deployment(num_replicas=2)
class Spanish:
    def __init__(self, greeting):
        self.greeting = greeting


@serve.deployment
class Hello:
    def __init__(self, spanish):
        self.spanish = spanish


app = Hello.bind(Spanish.bind("Hola"))
"""


@pytest.fixture(autouse=True)
def imports_as_before() -> Iterator[None]:
    """What a test imports does not reach the next one."""
    path, modules = [*sys.path], {*sys.modules}
    yield
    sys.path[:] = path
    for name in {*sys.modules} - modules:
        if not name.startswith(("meshgen", "tests", "grpc", "google")):
            del sys.modules[name]


@pytest.fixture
def write_app(tmp_path: Path) -> WriteApp:
    """Writes app.py, and other files by name, into a folder called `hello`; returns the folder."""

    def write(text: str = HELLO, **others: str) -> Path:
        folder = tmp_path / "hello"
        folder.mkdir(exist_ok=True)
        (folder / "app.py").write_text(text)
        for name, content in others.items():
            path = folder / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return folder

    return write
