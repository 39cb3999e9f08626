"""Every command in the documentation runs, and prints what the documentation shows.

Commands stand in ``console`` blocks after a `$`, what they print below them; `…` stands for
anything. Blocks of ``console docker`` run where there is a Docker engine.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.ports import free_ports

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md")]
    + [ROOT / "benchmarks" / "README.md"]
)
_BLOCK = re.compile(r"^```(?P<kind>[^\n]*)\n(?P<body>.*?)^```$", re.M | re.S)
# Those of examples run in tests/clients/test_docs_examples.py.
_CONSOLES = {"console", "console docker", "console example"}
# Tells which of two things began first, a fifth of a second apart: a machine that does something
# else meanwhile gets other chances.
_CLOSE = "pass=reference"
_TRIES = 3
_PORT = re.compile(r"(localhost|127\.0\.0\.1):(8000|9000)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One line after a `$`, and the lines that it is said to print."""

    line: str
    prints: tuple[str, ...]


def commands_of(path: Path, kind: str) -> list[Command]:
    """The commands in a document's blocks of one kind."""
    found: list[Command] = []
    for block in _BLOCK.finditer(path.read_text()):
        if block["kind"].strip() != kind:
            continue
        for line in block["body"].splitlines():
            if line.startswith("$ "):
                found.append(Command(line=line[2:], prints=()))
            elif line:
                last = found.pop()
                found.append(Command(line=last.line, prints=(*last.prints, line)))
    return found


@dataclass(kw_only=True)
class Terminal:
    """Runs the commands of one document in a copy of the project, on ports of its own."""

    folder: Path
    ports: dict[str, int]
    environment: dict[str, str]
    servers: list[subprocess.Popen[str]] = field(default_factory=list)

    def run(self, command: Command) -> None:
        """Run a command to its end, or until it serves, and compare what it prints."""
        line = self._with_port(command.line)
        if line.startswith("cd "):
            self.folder = self.folder / line.removeprefix("cd ")
        elif line.startswith("meshgen run "):
            self._check(command, self._serve(line + self._port_options()))
        elif line.startswith("make "):
            # What it would run is run by CI; here, that there is such a verb.
            self._finish(line.replace("make ", "make --dry-run ", 1))
        else:
            tries = _TRIES if _CLOSE in line else 1
            self._check(command, "".join(self._finish(line) for _ in range(tries)))

    def _with_port(self, text: str) -> str:
        return _PORT.sub(lambda found: f"{found[1]}:{self.ports[found[2]]}", text)

    def _port_options(self) -> str:
        return f" --port {self.ports['8000']} --grpc-port {self.ports['9000']}"

    def _finish(self, line: str) -> str:
        ran = subprocess.run(
            ["bash", "-c", line],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert ran.returncode == 0, f"{line} exited {ran.returncode}:\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def _serve(self, line: str) -> str:
        self.stop_servers()
        server = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.servers.append(server)
        assert server.stdout is not None
        printed = ""
        for text in server.stdout:
            printed += text
            if "HTTP on" in text:
                return printed
        raise AssertionError(f"{line} ended without serving:\n{printed}")

    def _check(self, command: Command, printed: str) -> None:
        """Each documented line is there, in order."""
        lines = iter(printed.replace("\r\n", "\n").splitlines())
        for documented in command.prints:
            pattern = re.escape(self._with_port(documented)).replace("…", ".*")
            assert any(re.fullmatch(pattern, line) for line in lines), (
                f"`{command.line}` does not print (any more) {documented!r}, but:\n{printed}"
            )

    def stop_servers(self) -> None:
        """End what still serves."""
        while self.servers:
            server = self.servers.pop()
            server.send_signal(signal.SIGINT)
            server.communicate(timeout=60)


@contextmanager
def terminal(folder: Path) -> Iterator[Terminal]:
    """A terminal in a fresh copy of what the documentation's commands use."""
    # Other tests import the examples meanwhile: what Python keeps of them comes and goes.
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "examples", folder / "examples", ignore=without)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    port, grpc_port = free_ports(2)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "HTTP_PORT": str(port),
        "GRPC_PORT": str(grpc_port),
        "COMPOSE_PROJECT_NAME": f"docs-{secrets.token_hex(3)}",
        "NO_PROXY": "*",
    }
    ports = {"8000": port, "9000": grpc_port}
    opened = Terminal(folder=folder, ports=ports, environment=environment)
    try:
        yield opened
    finally:
        opened.stop_servers()


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _with_commands(kind: str) -> list[Path]:
    return [path for path in DOCUMENTS if commands_of(path, kind)]


@pytest.mark.slow
@pytest.mark.parametrize("path", _with_commands("console"), ids=_name)
def test_commands_do_what_the_document_says(path: Path, tmp_path: Path) -> None:
    """In the document's order, each printing what stands below it."""
    with terminal(tmp_path) as opened:
        for command in commands_of(path, "console"):
            opened.run(command)


@pytest.mark.slow
@pytest.mark.containers
@pytest.mark.parametrize("path", _with_commands("console docker"), ids=_name)
def test_docker_commands_do_what_the_document_says(
    docker_engine: None, path: Path, tmp_path: Path
) -> None:
    """The same, with a Docker engine; what was brought up is gone afterwards."""
    with terminal(tmp_path) as opened:
        try:
            for command in commands_of(path, "console docker"):
                opened.run(command)
        finally:
            down = Command(line="docker compose down -v --rmi all --timeout 5", prints=())
            if (opened.folder / "compose.yaml").exists():
                opened.run(down)


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_no_command_hides_from_these_tests(path: Path) -> None:
    """No shell block of another kind, and no Docker where there may be no engine."""
    kinds = {block["kind"].strip() for block in _BLOCK.finditer(path.read_text())}
    assert kinds <= {"", *_CONSOLES, "go", "mermaid", "proto", "python", "typescript", "yaml"}
    assert not [c.line for c in commands_of(path, "console") if "docker" in c.line]
    for block in _BLOCK.finditer(path.read_text()):
        if block["kind"].startswith("console"):
            assert block["body"].startswith("$ "), "a console block begins with a command"
        else:
            assert not re.search(r"^\$ ", block["body"], re.M), "a command outside of a console"


@pytest.mark.parametrize("path", DOCUMENTS, ids=_name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link is a file of the checkout."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text())
    assert not [link for link in links if not (path.parent / link).exists()]


def test_documentation_is_found() -> None:
    """An empty list would pass every test above."""
    assert {"README.md", "examples/hello/README.md"} <= set(map(_name, _with_commands("console")))
