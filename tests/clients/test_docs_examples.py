"""The examples of docs/grpc.md: each program is taken out of the document and run.

Commands stand in blocks of ``console example``; a block whose first line is a comment with the name
of a file is that file. What is for Go is compared with the emitted files: no Go runs here.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.conftest import NODE_BIN, Node
from tests.clients.grpcurl import run_grpcurl
from tests.test_docs import ROOT, Command, Terminal, terminal

pytestmark = pytest.mark.slow  # only the first: it builds and starts a mesh

TEXT = (ROOT / "docs" / "grpc.md").read_text().partition("\n## Examples\n")[2].split("\n## ")[0]
_BLOCK = re.compile(r"^```(\S+)(?: example)?\n(.*?)^```$", re.M | re.S)
_FILE = re.compile(r"(?:#|//) (\S+)\n")
_PIP = "python -m pip install --no-index --no-deps --no-build-isolation --quiet --target site "


class Reader(Terminal):
    """Does what a reader of the examples does, with what tests need in place of downloads."""

    def run(self, command: Command) -> None:
        """Run a command, and compare what it prints."""
        line = self._with_port(command.line)
        if line.startswith("grpcurl "):
            self._check(command, run_grpcurl(line, self.folder, self.environment))
        elif line.startswith("pip install "):
            self._finish(line.replace("pip install ", _PIP))
        elif not line.startswith("npm install "):
            super().run(command)


def _commands(section: str) -> list[Command]:
    """Those below a heading; those above the first heading are of the section ""."""
    sections = {"": ""}
    for text in re.split(r"^### ", f"\n{TEXT}", flags=re.M):
        title, _, body = text.partition("\n")
        sections[title] = body
    found: list[Command] = []
    for kind, body in _BLOCK.findall(sections[section]):
        for line in body.splitlines() if kind == "console" else ():
            if line.startswith("$ "):
                found.append(Command(line=line[2:], prints=()))
            else:
                last = found.pop()
                found.append(Command(line=last.line, prints=(*last.prints, line)))
    assert found, f"no commands below {section!r}"
    return found


def _files() -> dict[str, str]:
    """The files of the examples, by name."""
    blocks = [body for _, body in _BLOCK.findall(TEXT)]
    return {named[1]: body for body in blocks if (named := _FILE.match(body))}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """A folder with all programs, and the mesh that they call."""
    with terminal(tmp_path_factory.mktemp("examples")) as opened:
        environment = {
            **opened.environment,
            "PATH": f"{NODE_BIN}{os.pathsep}{opened.environment['PATH']}",
            "PYTHONPATH": f"{opened.folder / 'site'}{os.pathsep}{ROOT}",
            "BUF_CACHE_DIR": str(opened.folder / ".cache"),
        }
        made = Reader(
            folder=opened.folder,
            ports=opened.ports,
            environment=environment,
            servers=opened.servers,
        )
        for name, text in _files().items():
            if not name.endswith(".go"):
                (made.folder / name).write_text(made._with_port(text))
        for command in _commands(""):
            made.run(command)
        yield made


@pytest.mark.parametrize("section", ["grpcurl", "Python"])
def test_examples_print_what_the_document_says(reader: Reader, section: str) -> None:
    """An answer, a stream, an error and a deadline of each."""
    for command in _commands(section):
        reader.run(command)


def test_typescript_runs_in_node_and_has_types(reader: Reader, node: Node) -> None:
    """With the code that buf and protoc-gen-es make of the emitted files."""
    (reader.folder / "node_modules").symlink_to(node.modules)
    for command in _commands("TypeScript"):
        reader.run(command)
    tsc = node.modules / "typescript" / "bin" / "tsc"
    options = ["--noEmit", "--strict", "--skipLibCheck", "--module", "nodenext"]
    node.run(tsc, *options, "--target", "es2022", "client.ts", cwd=reader.folder)


def test_what_npm_is_told_to_install_is_what_is_pinned() -> None:
    """Or the example would run with other packages than the document's."""
    pinned = json.loads((Path(__file__).parent / "node" / "package.json").read_text())
    lines = [command.line for command in _commands("TypeScript")]
    [packages] = [line.split()[2:] for line in lines if line.startswith("npm install ")]
    assert {*packages} <= {*pinned["dependencies"]}


def test_go_calls_what_is_there(reader: Reader) -> None:
    """Its package, services, messages and fields are those of the emitted files."""
    [go] = [text for name, text in _files().items() if name.endswith(".go")]
    template = (reader.folder / "out" / "buf.gen.yaml").read_text()
    [prefix] = re.findall(r"go_package_prefix\n +value: (\S+)", template)
    protos = reader.folder / "out" / "protos"
    [[name, path]] = re.findall(rf'(\w+) "{prefix}/(.*)"', go)
    [proto] = [file.read_text() for file in (protos / path).glob("*.proto")]
    [service] = re.findall(r"^service (\w+)", proto, re.M)
    messages = re.findall(r"^message (\w+)", proto, re.M)
    used = {*re.findall(rf"{name}\.(\w+)", go)}
    assert used <= {f"{service}Client", f"New{service}Client", *messages}
    fields = {field.capitalize() for field in re.findall(r" (\w+) = \d+;", proto)}
    assert {*re.findall(r"(\w+): ", "".join(re.findall(r"Request\{(.*?)\}", go)))} <= fields
