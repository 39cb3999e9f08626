"""Schemas as descriptors and as text: the same thing twice, and what protoc and buf accept."""

from __future__ import annotations

import enum
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from meshgen.typed.deployment import TypedDeployment, typed_deployment
from meshgen.typed.descriptors import file_descriptor, make_pool, tensor_descriptor
from meshgen.typed.prototext import proto_text
from meshgen.types import DeploymentID
from tests.typed.models import Color, Shop
from tests.typed.services import typed, write_folder


class Odd(enum.Enum):
    """Names that no style guide has."""

    A1b = 1
    x_2Y = 2
    HTTPCode = 3


@dataclass
class HTTPCode2:
    """A class whose name is mostly capitals.

    Its fields are not told in a good style either.
    """

    maxLength: int
    _private: str
    class_: str
    x1: float
    item_2b: list[Odd]
    message: Odd = Odd.A1b


@dataclass
class ItemsEntry:
    """A class with the name that protoc gives to the entries of a field called `items`."""

    items: dict[str, ItemsEntry]


@dataclass
class Value:
    """A class with the name of the oneof that its unions have."""

    entries: list[dict[str, Value | int]]


class OddNames:
    """Methods and parameters that a style guide would refuse.\tTabs \u2028 and lines, too."""

    def getHTTPCode2(self, HTTPCode: HTTPCode2, option: int | None = 3) -> dict[str, HTTPCode2]:
        """Returns "quotes" and \\ backslashes. */ // {}"""
        raise NotImplementedError

    def x2y(self, returns: dict[int, Odd], rpc: tuple[()], syntax: set[Odd]) -> Color:
        """Takes words of the language."""
        raise NotImplementedError

    def items(self, items: dict[str, ItemsEntry], entry: list[ItemsEntry]) -> Value | int:
        """Has names that mean two things."""
        raise NotImplementedError

    def invoke(self) -> None:
        """Has a name close to that of `__call__`."""

    def __call__(self, stream: list[list[Any]]) -> list[dict[str, int | str]]:
        """Has both."""
        raise NotImplementedError


class Echo:
    """Takes what Protobuf has in packages called google."""

    def echo(self, value: Any) -> None:
        """Returns nothing."""


def _deployments() -> list[TypedDeployment]:
    names = {"Shop": Shop, "OddNames": OddNames, "google": Echo, "meshgen": Echo, "Empty": object}
    return [
        typed_deployment(target, DeploymentID("demo-app", name)) for name, target in names.items()
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated folder with every kind of message."""
    return write_folder(tmp_path_factory.mktemp("built"), *_deployments())


def _compiled(folder: Path) -> dict[str, FileDescriptorProto]:
    """What protoc makes of the folder's files, by path, without comments."""
    paths = [path.as_posix() for path in sorted((folder / "protos").rglob("*.proto"))]
    out = folder / "descriptors.binpb"
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder / 'protos'}"]
    subprocess.run([*protoc, f"--descriptor_set_out={out}", *paths], check=True, timeout=120)
    found = FileDescriptorSet.FromString(out.read_bytes())
    return {file.name: file for file in found.file}


def test_protoc_reads_the_text_as_the_descriptors_say(folder: Path) -> None:
    """Both are made from one schema, and say the same to the last field."""
    compiled = _compiled(folder)
    for made in _deployments():
        ours, theirs = made.file(), compiled[made.schema.path]
        assert str(_without_json_names(ours)) == str(_without_json_names(theirs))


def _without_json_names(file: FileDescriptorProto) -> FileDescriptorProto:
    # protoc tells them in some outputs only.
    for message in file.message_type:
        for field in [*message.field, *(f for nested in message.nested_type for f in nested.field)]:
            field.ClearField("json_name")
    return file


def test_the_tensor_is_what_its_file_says(folder: Path) -> None:
    """`protos/meshgen/types/v1/tensor.proto` and its descriptor are in step."""
    theirs = _compiled(folder)["meshgen/types/v1/tensor.proto"]
    assert _without_json_names(tensor_descriptor()) == _without_json_names(theirs)


def test_json_names_are_those_of_protoc() -> None:
    """A pool computes them by protoc's rule where a descriptor has none."""
    made = [deployment.file() for deployment in _deployments()]
    plain = [FileDescriptorProto.FromString(file.SerializeToString()) for file in made]
    with_names, without = make_pool(made), make_pool(map(_without_json_names, plain))
    for file in made:
        for message in file.message_type:
            name = f"{file.package}.{message.name}"
            ours, theirs = (pool.FindMessageTypeByName(name) for pool in (with_names, without))
            assert [f.json_name for f in ours.fields] == [f.json_name for f in theirs.fields]


@pytest.mark.parametrize("seed", ["1", "2"])
def test_the_text_is_the_same_in_every_process(folder: Path, seed: str) -> None:
    """Whatever order sets have there."""
    code = (
        "from tests.typed.models import Shop; from tests.typed.services import *; import sys;"
        "sys.stdout.write(proto_text(typed(Shop).schema, 'note'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == proto_text(typed(Shop).schema, "note")


def test_outsiders_need_not_see_the_generic_rpcs() -> None:
    """What is left is a file of its own, without anything pickled."""
    schema = typed(Shop).schema.typed_only()
    made = file_descriptor(schema)
    assert "Call" not in {method.name for method in made.service[0].method}
    assert "meshgen/v1/mesh.proto" not in made.dependency
    make_pool([made]).FindServiceByName(schema.full_service)


def test_a_pool_takes_a_set_as_protoc_writes_it(folder: Path) -> None:
    """With the files that all have in common in it."""
    pool = make_pool(_compiled(folder).values())
    assert pool.FindMessageTypeByName("demo_app.shop.v1.Item").fields_by_name["price"].number == 2


def test_buf_finds_nothing_to_complain_of(folder: Path) -> None:
    """The STANDARD rules, whatever the user's names."""
    done = _buf("lint", folder)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_reserved_numbers_and_names_are_emitted(tmp_path: Path) -> None:
    """What a removed parameter had is nobody else's, and buf takes that for compatible."""
    before = typed(_with_two)
    after = typed(_with_another, {before.schema.package: before.lock})
    old, new = write_folder(tmp_path / "old", before), write_folder(tmp_path / "new", after)
    text = (new / "protos" / after.schema.path).read_text()
    assert 'reserved 1;\n  reserved "first";' in text
    done = _buf("breaking", new, "--against", str(old))
    assert done.stdout == "" and done.returncode == 0, done.stderr
    assert _compiled(new)[after.schema.path].message_type[0] == after.file().message_type[0]


def test_buf_notices_what_the_lock_prevents(tmp_path: Path) -> None:
    """Without the lock, the same change moves a number, and the check above can fail."""
    old = write_folder(tmp_path / "old", typed(_with_two))
    new = write_folder(tmp_path / "new", typed(_with_another))
    assert _buf("breaking", new, "--against", str(old)).returncode != 0


def _with_two(first: str, second: int) -> None:
    raise NotImplementedError


def _with_another(second: int, third: bytes = b"") -> None:
    raise NotImplementedError


def _buf(verb: str, folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    buf = Path(sys.executable).parent / "buf"
    home = {"HOME": str(folder), "BUF_CACHE_DIR": str(folder / ".cache")}
    return subprocess.run(
        [str(buf), verb, str(folder), *args],
        capture_output=True,
        text=True,
        timeout=120,
        env=home,
        cwd=folder,
    )
