"""The .proto files of a mesh, their numbers, and what builds say of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from meshgen.build.loader import load_target
from meshgen.build.project import Built, build_project
from meshgen.cli import main
from meshgen.errors import BreakingChangeError, BuildError, OptionError
from meshgen.naming import grpc_service
from meshgen.specfiles import read_mesh, read_service
from tests.build.conftest import WriteApp

SHOP = """
import dataclasses
import enum
from collections.abc import Iterator

from meshgen import serve


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@dataclasses.dataclass
class Item:
    name: str
    color: Color = Color.RED


@serve.deployment
class Stock:
    def find(self, name: str, limit: int = 3) -> list[Item]:
        return [Item(name)] * limit

    def watch(self, names: set[str]) -> Iterator[Item]:
        yield from map(Item, names)

    def spread(self, *names):
        return names


@serve.deployment
class Front:
    def __init__(self, stock):
        self.stock = stock

    def buy(self, item: Item) -> str:
        return item.name


app = Front.bind(Stock.bind())
"""
# `name` goes, `page` comes, and so does a color; what is there moves.
CHANGED = SHOP.replace("name: str, limit: int = 3", "page: int = 1, limit: int = 3").replace(
    "RED = 1", "GREEN = 3\n    RED = 1"
)


def _build(folder: Path, out: Path, *, keep_clients: bool = False) -> Built:
    loaded = load_target(f"{folder / 'app.py'}:app")
    return build_project(loaded, out, keep_clients=keep_clients)


def _run(folder: Path, out: Path, *options: str) -> Result:
    # As a process of its own would: the module may have changed.
    sys.modules.pop("app", None)
    command = ["build", f"{folder / 'app.py'}:app", "-o", str(out), *options]
    return CliRunner().invoke(main, command)


def _compiled(out: Path) -> dict[str, Any]:
    found = FileDescriptorSet.FromString((out / "protos" / "descriptors.binpb").read_bytes())
    return {file.name: file for file in found.file}


def test_each_deployment_has_its_typed_rpcs_beside_the_generic_ones(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """In the service of the name that members of the mesh know it by."""
    _build(write_app(SHOP), tmp_path / "out")
    found = {
        f"{file.package}.{service.name}": [method.name for method in service.method]
        for file in _compiled(tmp_path / "out").values()
        for service in file.service
        if not file.package.startswith("meshgen.")
    }
    assert found == {
        grpc_service("hello", "Stock"): ["Find", "Watch", "Call", "CallStream"],
        grpc_service("hello", "Front"): ["Buy", "Call", "CallStream"],
    }


def test_the_descriptors_need_no_other_file(write_app: WriteApp, tmp_path: Path) -> None:
    """Everything that is imported is in there, for tools such as grpcurl."""
    _build(write_app(SHOP), tmp_path / "out")
    files = _compiled(tmp_path / "out")
    assert {name for file in files.values() for name in file.dependency} <= {*files}
    assert "meshgen/types/v1/tensor.proto" in files


def test_generated_messages_are_wire_identical_with_the_meshs_own(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """The same fields of the same types under the same numbers; the mesh's own may have more."""
    _build(write_app(SHOP), tmp_path / "out")
    files = _compiled(tmp_path / "out")
    ours, theirs = (
        {message.name: message for message in files[name].message_type}
        for name in ("hello/stock/v1/stock.proto", "meshgen/v1/mesh.proto")
    )
    generic = [f"{name}{part}" for name in ("Call", "CallStream") for part in _PARTS]
    for name in generic:
        assert [*ours[name].field] == [*theirs[name].field][: len(ours[name].field)]


_PARTS = ("Request", "Response")


def test_the_task_service_has_generic_rpcs_only(write_app: WriteApp, tmp_path: Path) -> None:
    """It belongs to the mesh: no hint of it is a promise to anybody."""
    loaded = load_target(f"{write_app(SHOP) / 'app.py'}:app")
    built = build_project(loaded, tmp_path / "out", tasks=True)
    (service,) = _compiled(tmp_path / "out")["meshgen/meshgen_tasks/v1/meshgen_tasks.proto"].service
    assert [method.name for method in service.method] == ["Call", "CallStream"]
    assert "meshgen.meshgen_tasks.v1" not in built.contract.lock


def test_numbers_stay_over_builds(write_app: WriteApp, tmp_path: Path) -> None:
    """A parameter that comes takes none that another had; the lock in the folder is read."""
    out = tmp_path / "out"
    assert _run(write_app(SHOP), out).exit_code == 0
    assert _run(write_app(CHANGED), out).exit_code == 0
    stock = _compiled(out)["hello/stock/v1/stock.proto"]
    request = next(message for message in stock.message_type if message.name == "FindRequest")
    assert {field.name: field.number for field in request.field} == {"page": 3, "limit": 2}
    assert [*request.reserved_name] == ["name"]
    (color,) = stock.enum_type
    assert {value.name: value.number for value in color.value} == {
        "COLOR_UNSPECIFIED": 0,
        "COLOR_RED": 1,
        "COLOR_BLUE": 2,
        "COLOR_GREEN": 3,
    }


def test_a_lock_from_version_control_is_taken_in_place_of_the_folders_own(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Alone in a fresh folder, or newer than what was built there: neither is an edit."""
    folder, out, fresh = write_app(SHOP), tmp_path / "out", tmp_path / "fresh"
    _build(folder, out)
    lock = json.loads((out / "meshgen.lock.json").read_text())
    lock["hello.stock.v1"]["messages"]["FindRequest"] = {"name": 7, "limit": 8}
    fresh.mkdir()
    for place in (out, fresh):
        (place / "meshgen.lock.json").write_text(json.dumps(lock))
        _build(folder, place)
        text = (place / "protos/hello/stock/v1/stock.proto").read_text()
        assert "string name = 7;" in text
        assert json.loads((place / "meshgen.lock.json").read_text()) == lock


def test_a_lock_that_cannot_be_read_stops_the_build(write_app: WriteApp, tmp_path: Path) -> None:
    """Numbering anew would break every client without a word."""
    out = tmp_path / "out"
    _build(write_app(SHOP), out)
    (out / "meshgen.lock.json").write_text("<<<<<<< ours")
    with pytest.raises(OptionError, match=r"meshgen\.lock\.json is no lock"):
        _build(write_app(SHOP), out)


def test_replicas_find_the_lock_beside_mesh_json(write_app: WriteApp, tmp_path: Path) -> None:
    """It is in the image, and another one makes another image."""
    built = _build(write_app(SHOP), tmp_path / "out")
    copies = (tmp_path / "out/images/base/Dockerfile").read_text().splitlines()
    assert "COPY mesh.json meshgen.lock.json descriptors.binpb /mesh/" in copies
    kept = (tmp_path / "out/.dockerignore").read_text().splitlines()
    assert {"!meshgen.lock.json", "!descriptors.binpb"} <= {*kept}
    lock = json.loads((tmp_path / "out" / "meshgen.lock.json").read_text())
    lock["hello.front.v1"]["messages"]["BuyRequest"] = {"item": 5}
    (tmp_path / "out" / "meshgen.lock.json").write_text(json.dumps(lock))
    assert _build(write_app(SHOP), tmp_path / "out").build_id != built.build_id


def test_a_change_that_breaks_clients_is_a_warning(write_app: WriteApp, tmp_path: Path) -> None:
    """The build goes on; scripts find it in the summary."""
    out = tmp_path / "out"
    assert _run(write_app(SHOP), out).stderr == ""
    ran = _run(write_app(CHANGED), out)
    assert ran.exit_code == 0
    gone = "hello.stock.v1: the field name of FindRequest is gone"
    assert ran.stderr == f"warning: {gone}\n"
    summary = json.loads(_run(write_app(SHOP), out, "--json").stdout)
    assert len(summary["breaking"]) == 4
    assert "hello.stock.v1: the field page of FindRequest is gone" in summary["breaking"]


def test_check_breaking_fails_before_anything_is_written(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Exit status 1, a sentence for each change; what breaks nobody passes."""
    out = tmp_path / "out"
    assert _run(write_app(SHOP), out, "--check-breaking").exit_code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    ran = _run(write_app(CHANGED), out, "--check-breaking")
    assert (ran.exit_code, ran.stdout) == (1, "")
    assert ran.stderr == "error: hello.stock.v1: the field name of FindRequest is gone\n"
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    more = SHOP.replace("limit: int = 3", "limit: int = 3, page: int = 1")
    assert _run(write_app(more), out, "--check-breaking").exit_code == 0


def test_breaking_changes_are_errors_of_their_own(write_app: WriteApp, tmp_path: Path) -> None:
    """Those who call the build themselves can tell them from a graph that cannot be built."""
    _run(write_app(SHOP), tmp_path / "out")
    sys.modules.pop("app")
    with pytest.raises(BreakingChangeError) as caught:
        _build(write_app(CHANGED), tmp_path / "out", keep_clients=True)
    assert isinstance(caught.value, BuildError) and len(caught.value.problems) == 1


def test_methods_without_a_typed_rpc_are_listed_with_the_reason(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """At the end, counted; nothing is wrong with them."""
    ran = _run(write_app(SHOP), tmp_path / "out")
    assert (ran.exit_code, ran.stderr) == (0, "")
    *_, head, last = ran.stdout.splitlines()
    assert head.startswith("1 method has no typed RPC")
    assert last.startswith("  Stock.spread has no typed RPC: it takes *names")
    summary = json.loads(_run(write_app(SHOP), tmp_path / "out", "--json").stdout)
    assert (summary["typed_rpcs"], summary["untyped"]) == (3, [last.strip()])


def test_nothing_is_said_where_all_methods_are_typed(write_app: WriteApp, tmp_path: Path) -> None:
    """The list is for what is missing."""
    text = SHOP.replace("self, *names", "self, names")
    assert "typed RPC" not in _run(write_app(text), tmp_path / "out").stdout


def test_buf_finds_nothing_to_complain_of(write_app: WriteApp, tmp_path: Path) -> None:
    """STANDARD rules on what was written, and WIRE_JSON over a change that keeps clients."""
    before, out = tmp_path / "before", tmp_path / "out"
    for place in (before, out):
        _run(write_app(SHOP), place, "--tasks")
    more = SHOP.replace("limit: int = 3", "page: int = 1, limit: int = 3")
    assert _run(write_app(more), out, "--tasks").exit_code == 0
    _buf(out, "lint")
    _buf(out, "breaking", "--against", str(before))


def test_buf_takes_a_deployment_that_is_called_like_a_word_of_protos(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Whose package cannot be called like that in every language."""
    named = SHOP.replace("Stock.bind()", 'Stock.options(name="import").bind()')
    assert _run(write_app(named), tmp_path / "out").exit_code == 0
    _buf(tmp_path / "out", "lint")
    assert (tmp_path / "out/protos/hello/import_service/v1/import_service.proto").is_file()


def test_buf_would_notice_moved_numbers(write_app: WriteApp, tmp_path: Path) -> None:
    """Without the lock the same change breaks clients: the test above can fail."""
    before, out = tmp_path / "before", tmp_path / "out"
    _run(write_app(SHOP), before)
    _run(write_app(SHOP.replace("limit: int = 3", "page: str = '', limit: int = 3")), out)
    with pytest.raises(AssertionError, match="page"):
        _buf(out, "breaking", "--against", str(before))


def _buf(folder: Path, *command: str) -> None:
    buf = Path(sys.executable).with_name("buf")
    home = {"HOME": str(folder.parent), "BUF_CACHE_DIR": str(folder.parent / "cache")}
    ran = subprocess.run(
        [buf, *command], cwd=folder, env=home, capture_output=True, text=True, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


FIFTY = """
import dataclasses

from meshgen import serve


@dataclasses.dataclass
class Item:
    name: str
    tags: list[str] | None = None


class Base:
    def __init__(self, *others):
        self.others = others

    def one(self, item: Item, limit: int = 3) -> list[Item]: ...
    def two(self, by_name: dict[str, Item]) -> Item | None: ...
    def three(self, number: float, text: str | int) -> tuple[int, str]: ...
    def four(self, names: set[str], *, deep: bool = False) -> dict[int, list[Item]]: ...


parts = [serve.deployment(Base).options(name=f"Part{n}").bind() for n in range(49)]
app = serve.deployment(Base).options(name="Front").bind(*parts)
"""


def test_a_large_graph_is_built_in_seconds(write_app: WriteApp, tmp_path: Path) -> None:
    """50 deployments with 200 typed methods, in less than 5 s of this process and protoc's."""
    loaded = load_target(f"{write_app(FIFTY) / 'app.py'}:app")
    before = _cpu_seconds()
    built = build_project(loaded, tmp_path / "out")
    assert built.contract.rpcs == 200
    assert _cpu_seconds() - before < 5


def _cpu_seconds() -> float:
    """What this process and those that it waited for have used: no neighbour counts."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


def test_the_gateway_is_told_what_outsiders_may_call(write_app: WriteApp, tmp_path: Path) -> None:
    """The ingress and what is exposed, in the same numbers, and nothing that takes pickles."""
    text = SHOP.replace(
        "@serve.deployment\nclass Stock", "@serve.deployment(expose=True)\nclass Stock"
    )

    _build(write_app(text), tmp_path / "out")
    app = read_mesh(tmp_path / "out" / "mesh.json").apps["hello"]
    assert {name: dict(service.rpcs) for name, service in app.typed.items()} == {
        "Stock": {"Find": "find", "Watch": "watch"},
        "Front": {"Buy": "buy"},
    }
    served = FileDescriptorSet.FromString((tmp_path / "out/descriptors.binpb").read_bytes())
    compiled = _compiled(tmp_path / "out")
    assert [file.name for file in served.file] == [
        "hello/front/v1/front.proto",
        "hello/stock/v1/stock.proto",
    ]
    for file in served.file:
        assert [rpc.name for rpc in file.service[0].method if rpc.name.startswith("Call")] == []
        theirs = {message.name: message for message in compiled[file.name].message_type}
        for message in file.message_type:
            assert [f.number for f in message.field] == [
                f.number for f in theirs[message.name].field
            ]


def test_hints_of_a_class_that_travels_by_value_travel_along(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Where it arrives, the names in them mean nothing."""
    text = (
        "from meshgen import serve\n\ndef make():\n    class Local:\n"
        "        def get(self) -> int: ...\n    return serve.deployment(Local).bind()\n\n"
        "app = make()\n"
    )
    _build(write_app(text), tmp_path / "out")
    assert read_service(tmp_path / "out" / "services" / "local").typed is not None
    assert read_mesh(tmp_path / "out" / "mesh.json").apps["hello"].typed["Local"].rpcs == {
        "Get": "get"
    }
