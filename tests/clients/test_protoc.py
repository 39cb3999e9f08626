"""A client that protoc made of the emitted files alone, where there is no meshgen to import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest

pytestmark = pytest.mark.slow  # only the first: it builds and starts a mesh

PROGRAM = """
import importlib.util
import json
import sys

address, *sys.path[:0] = sys.argv[1:]

import grpc
from abroad.shop.v1 import shop_pb2 as pb, shop_pb2_grpc
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def failure(error):
    status = rpc_status.from_call(error)
    fields = []
    for each in status.details if status else ():
        bad = error_details_pb2.BadRequest()
        if each.Unpack(bad):
            fields = [[one.field, one.description] for one in bad.field_violations]
    return {"code": error.code().name, "message": error.details(), "fields": fields}


def outcome(call):
    try:
        return call()
    except grpc.RpcError as error:
        return failure(error)


def results(answers):
    items = []
    try:
        for answer in answers:
            items.append(answer.result)
    except grpc.RpcError as error:
        return {"items": items, **failure(error)}
    return {"items": items}


def painted():
    item = stub.Paint(pb.PaintRequest(item=pb.Item(name="tea"), color=pb.COLOR_BLUE)).result
    return [item.name, item.price, pb.Color.Name(item.color), [*item.tags], item.HasField("note")]


def anything():
    value = struct_pb2.Value(string_value="x")
    return stub.Anything(pb.AnythingRequest(value=value)).result.struct_value["was"]


with grpc.insecure_channel(address) as channel:
    stub = shop_pb2_grpc.ShopServiceStub(channel)
    items = [pb.Item(name="tea", price=2.5), pb.Item(name="cup")]
    print(json.dumps({
        "mesh": importlib.util.find_spec("meshgen.runtime") is not None,
        "total": outcome(lambda: stub.Total(pb.TotalRequest(items=items, rate=2)).result),
        "painted": outcome(painted),
        "anything": outcome(anything),
        "count": results(stub.Count(pb.CountRequest(to=3))),
        "soldOutLater": results(stub.SellSome(pb.SellSomeRequest(names=["cup", "tea"]))),
        "invalid": outcome(lambda: stub.Find(pb.FindRequest(id="no id"))),
        "pickled": outcome(lambda: stub.Call(pb.CallRequest())),
        "late": outcome(lambda: stub.Wait(pb.WaitRequest(), timeout=0.2)),
        "lateStream": results(stub.Hold(pb.HoldRequest(), timeout=0.5)),
    }))
"""
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(out: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What each of the client's calls came to."""
    folder = tmp_path_factory.mktemp("protoc")
    protos = out / "protos"
    files = [str(path.relative_to(protos)) for path in protos.rglob("*.proto")]
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"-I{protos}"]
    _run([*protoc, "--python_out=.", "--grpc_python_out=.", *files], folder)
    (folder / "client.py").write_text(PROGRAM)
    # Without `site`, nothing that is installed for development can be imported.
    libraries = Path(grpc.__file__).parent.parent
    alone = [sys.executable, "-I", "-S", "client.py", address, str(folder), str(libraries)]
    found: Told = json.loads(_run(alone, folder))
    return found


def _run(command: list[str], folder: Path) -> str:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def test_it_has_no_meshgen(told: Told) -> None:
    """Or it would prove nothing."""
    assert told["mesh"] is False


def test_unary_calls_and_streams_have_their_values(told: Told) -> None:
    """What is left out has the method's default, and what is absent is told as that."""
    assert told["total"] == 7
    assert told["painted"] == ["tea", 1.0, "COLOR_BLUE", ["BLUE"], False]
    assert told["anything"] == "x"
    assert told["count"] == {"items": [0, 1, 2]}


def test_errors_have_codes_sentences_and_details(told: Told) -> None:
    """Also in the middle of a stream."""
    assert told["invalid"]["code"] == "INVALID_ARGUMENT"
    assert told["invalid"]["fields"] == [["id", "expected a UUID, got 'no id'"]]
    later = {"items": ["cup"], "code": "NOT_FOUND", "message": "no tea left", "fields": []}
    assert told["soldOutLater"] == later


@pytest.mark.parametrize("call", ["late", "lateStream"])
def test_deadlines_end_calls(told: Told, call: str) -> None:
    """That would wait for ever."""
    assert told[call]["code"] == "DEADLINE_EXCEEDED"


def test_what_members_of_the_mesh_say_is_not_served(told: Told) -> None:
    """The .proto files have the pickled RPCs; the published port does not."""
    assert told["pickled"]["code"] == "UNIMPLEMENTED"
