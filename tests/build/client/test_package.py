"""The generated client as a package: what is in it, what it needs, and what type checkers see."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from meshgen.build.project import Built
from tests.build.client.apps import build_client, client_folder

# Names that mean something else in Python, in the client itself, or in Protobuf.
ODD = '''
import builtins
import dataclasses
import enum
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, TypedDict

from pydantic import BaseModel, create_model

from meshgen import serve


class Odd(enum.Enum):
    """Ends with a backslash \\\\ and a "quote\\""""

    A1b = 1
    x_2Y = 2.5
    HTTPCode = "3"


Weird = enum.Enum("Weird", {"a b": 1, "class": 2})
Keys = TypedDict("Keys", {"from": int, "a-b": str}, total=False)
Made = create_model("Made", **{"x": (int, ...), "y": (float, 2)})


@dataclasses.dataclass
class HTTPCode2:
    """Its fields are called as types are.

    This is not told.
    """

    maxLength: int
    _private: str
    class_: str
    list: "builtins.list[builtins.str]"
    str: "builtins.str"
    message: Odd = Odd.A1b
    far: float = float("inf")


class Unset(NamedTuple):
    tags: list[str] = []
    pairs: tuple[int, ...] = ()


class OddClient(TypedDict):
    x: int


class Late(BaseModel):
    a: int = 3
    b: str


class Empty(BaseModel):
    pass


@serve.deployment(name="Odd")
class Names:
    """Says "hi" """

    def __init__(self, *others):
        self.others = others

    def list(self, self_: int) -> "builtins.list[builtins.str]": ...
    def float(self, x: "builtins.float" = 1.5, late: Late | None = None) -> "builtins.float": ...
    def str(self, code: HTTPCode2, weird: Weird, odd: Odd = Odd.HTTPCode) -> "builtins.str": ...
    def dict(self, keys: Keys, made: Made, unset: Unset, client: OddClient, e: Empty) -> Late: ...
    def literal(self, d: Literal[Odd.A1b, "x", b"y", 3, True, None] = "x") -> Any: ...
    def gen(self, xs: Sequence[int], /, ys: Iterable["builtins.str"], *, w: tuple[()]) -> (
        Iterator["builtins.dict[int, Keys]"]
    ):
        """A stream."""
        yield {}


@serve.deployment(name="Close", expose=True)
class Closing:
    def __call__(self, a: int, b: int = 0, /) -> int: ...


@serve.deployment(name="import", expose=True)
def function(self: int, timeout: int, metadata: str) -> bytes | None: ...


app = Names.bind(Closing.bind(), function.bind())
'''
# Each line with a mistake says what mypy must find there.
USES = """
import asyncio
from collections.abc import AsyncIterator, Iterator

from parrot_client import AsyncParrotClient, ParrotClient, Tensor
from parrot_client.echo import Color, Item, Options, Pair, Point


def blocking(client: ParrotClient) -> str:
    items: list[Item] = client.echo.items([Item("a", Color.blue)], {}, timeout=3)
    options: Options = client.echo.options({"limit": 1}, metadata={"x-request-id": "1"})
    points: frozenset[Point] = client.echo.points({Point(1)})
    either: int | str | Pair | None = client.echo.one_of(items)
    image: Tensor = client.echo.double(Tensor("float32", (0,), b""))
    stream: Iterator[Item] = client.echo.count(3)
    client.echo.nothing()
    client.front(1)  # arg-type
    client.front(nom="Dora")  # call-arg
    client.echo.scalers()  # attr-defined
    client.inner  # attr-defined
    wrong: int = client.front("Dora")  # assignment
    client.echo.defaults(a=1)  # call-arg
    print(options["limit"], points, either, image, [*stream], wrong)
    return client.front(name="Dora")


async def waiting(client: AsyncParrotClient) -> str:
    stream: AsyncIterator[Item] = client.echo.count(3)
    print([item.color async for item in stream])
    wrong: str = client.front("Dora")  # assignment
    return wrong + await client.front("Dora")


with ParrotClient("localhost:9000", token="t", tls=True, timeout=None) as made:
    blocking(made)
asyncio.run(waiting(AsyncParrotClient("localhost:9000", root_certificates=b"")))
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """An application whose names collide with everything."""
    return build_client(tmp_path_factory.mktemp("odd"), ODD, "odd")


def _run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    environment = {**os.environ, **({"PYTHONPATH": str(path)} if path else {})}
    ran = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def test_it_needs_neither_meshgen_nor_the_application(built: Built, tmp_path: Path) -> None:
    """Nor does it unpickle anything: gRPC and Protobuf are all that it imports from elsewhere."""
    files = [*(client_folder(built) / "parrot_client").glob("*.py")]
    imported = {
        name.partition(".")[0]
        for file in files
        for name in re.findall(r"^(?:import|from) (\w[\w.]*)", file.read_text(), re.MULTILINE)
    }
    assert len(files) > 8
    assert imported - sys.stdlib_module_names == {"grpc", "google"}
    assert not imported & {"pickle", "marshal", "shelve"}
    code = (
        "import sys; sys.modules['meshgen'] = sys.modules['cloudpickle'] = None\n"
        "import parrot_client.echo; print(parrot_client.ParrotClient('localhost:1').echo)"
    )
    assert "EchoClient" in _run(sys.executable, "-c", code, cwd=tmp_path, path=client_folder(built))


def test_what_members_of_the_mesh_say_to_each_other_is_not_in_it(built: Built) -> None:
    """The descriptors have typed RPCs of exposed deployments, and what these import."""
    data = (client_folder(built) / "parrot_client" / "descriptors.binpb").read_bytes()
    files = {file.name: file for file in FileDescriptorSet.FromString(data).file}
    assert {*files} == {
        "google/protobuf/duration.proto",
        "google/protobuf/struct.proto",
        "google/protobuf/timestamp.proto",
        "meshgen/types/v1/tensor.proto",
        "parrot/echo/v1/echo.proto",
        "parrot/front/v1/front.proto",
    }
    rpcs = {
        method.name
        for file in files.values()
        for service in file.service
        for method in service.method
    }
    assert {"Scalars", "Invoke"} <= rpcs and not rpcs & {"Call", "CallStream", "Hidden"}


def test_it_stands_beside_an_installed_meshgen(built: Built, tmp_path: Path) -> None:
    """Both have meshgen.types.v1, in pools of their own."""
    code = (
        "from meshgen.v1 import mesh_pb2; from meshgen.typed import descriptors\n"
        "import parrot_client.echo; descriptors.make_pool([]); print('both')"
    )
    _run(sys.executable, "-c", code, cwd=Path(__file__).parents[3], path=client_folder(built))


def test_nothing_is_written_where_nothing_can_be_called(tmp_path: Path) -> None:
    """An ingress that answers HTTP alone has no typed RPC."""
    text = (
        "from meshgen import serve\n@serve.deployment\nclass Web:\n"
        "    def __call__(self, *args): ...\napp = Web.bind()\n"
    )
    built = build_client(tmp_path, text, "web")
    assert not (built.out / "clients").exists()


def test_odd_names_can_be_imported(odd: Built, tmp_path: Path) -> None:
    """And are still there, under names that Python can have."""
    code = (
        "import odd_client; from odd_client import odd, close_, import_service\n"
        "print([member.name for member in odd.Weird], odd.Keys.__annotations__.keys(),"
        " odd.OddClient_, odd.Unset(), odd.HttpCode2.__doc__)\n"
        "client = odd_client.OddClient('localhost:1')\n"
        "client.close_; client.import_service; client.close()"
    )
    found = _run(sys.executable, "-c", code, cwd=tmp_path, path=client_folder(odd))
    assert "['a_b', 'class_']" in found and "dict_keys(['from', 'a-b'])" in found
    assert "Its fields are called as types are." in found and "not told" not in found


@pytest.mark.slow
def test_mypy_strict_finds_nothing(built: Built, odd: Built, tmp_path: Path) -> None:
    """In the clients, whatever names they have; in code that uses them, each mistake."""
    uses = tmp_path / "uses.py"
    uses.write_text(USES)
    packages = [client_folder(built) / "parrot_client", client_folder(odd) / "odd_client"]
    for package in packages:
        (tmp_path / package.name).symlink_to(package)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
    ran = subprocess.run(
        [*command, "parrot_client", "odd_client", "uses.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    errors = re.findall(r"^uses\.py:(\d+): error: .*\[([\w-]+)\]", ran.stdout, re.MULTILINE)
    expected = [
        (str(number), line.rpartition("# ")[2])
        for number, line in enumerate(USES.splitlines(), start=1)
        if "  # " in line
    ]
    assert [*dict.fromkeys(errors)] == expected
    assert not [line for line in ran.stdout.splitlines() if "_client/" in line and "error" in line]


@pytest.mark.slow
def test_it_can_be_installed(built: Built, tmp_path: Path) -> None:
    """With its types and descriptors, offline where its two dependencies are there."""
    target = tmp_path / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    pip = [sys.executable, "-m", "pip", "install", *offline, "--target", str(target)]
    _run(*pip, client_folder(built), cwd=tmp_path)
    installed = {path.name for path in (target / "parrot_client").iterdir()}
    assert {"py.typed", "descriptors.binpb", "echo.py", "_sync.py"} <= installed
    (metadata,) = target.glob("parrot_client-*.dist-info/METADATA")
    requires = re.findall(r"^Requires-Dist: (\w+)", metadata.read_text(), re.MULTILINE)
    assert requires == ["grpcio", "protobuf"]
    code = "import parrot_client; print(parrot_client.ParrotClient)"
    _run(sys.executable, "-c", code, cwd=tmp_path, path=target)


def test_other_languages_have_a_template_for_buf(built: Built, tmp_path: Path) -> None:
    """`buf generate` runs the plugins that it names, with a Go package for each .proto."""
    plugin = f"#!{sys.executable}\n{PLUGIN}"
    for name in ("go", "go-grpc", "es"):
        (tmp_path / f"protoc-gen-{name}").write_text(plugin)
        (tmp_path / f"protoc-gen-{name}").chmod(0o755)
    shutil.copytree(built.out / "protos", tmp_path / "protos")
    for name in ("buf.yaml", "buf.gen.yaml"):
        shutil.copy(built.out / name, tmp_path)
    ran = subprocess.run(
        [Path(sys.executable).with_name("buf"), "generate"],
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    go = (tmp_path / "clients/go/parrot/echo/v1/echo.proto.go").read_text()
    assert go == "parrot/clients/go/parrot/echo/v1;echov1"
    assert (tmp_path / "clients/go/parrot/echo/v1/echo.proto.grpc").exists()
    assert (tmp_path / "clients/typescript/parrot/echo/v1/echo.proto.es").exists()


# Writes the Go package of each file that it is given, to a file with the plugin's name.
PLUGIN = """
import sys
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
response = CodeGeneratorResponse(supported_features=1)
packages = {file.name: file.options.go_package for file in request.proto_file}
for name in request.file_to_generate:
    file = f"{name}.{sys.argv[0].rpartition('-')[2]}"
    response.file.add(name=file, content=packages[name])
sys.stdout.buffer.write(response.SerializeToString())
"""
