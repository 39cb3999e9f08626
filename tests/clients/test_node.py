"""A real Node client, made by @grpc/grpc-js of the emitted .proto files, calls a running mesh."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Node

pytestmark = pytest.mark.slow  # only the first: it installs packages, builds and starts a mesh

CLIENT = Path(__file__).parent / "node" / "client.mjs"
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(node: Node, out: Path, address: str, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What each of the client's calls came to."""
    arguments = (CLIENT, address, out / "protos", node.modules)
    found: Told = json.loads(node.run(*arguments, cwd=tmp_path_factory.mktemp("node")))
    return found


def _buffer(*data: int) -> dict[str, Any]:
    """Bytes, as Node writes them in JSON."""
    return {"type": "Buffer", "data": [*data]}


def _item(name: str, **fields: Any) -> dict[str, Any]:
    """An item, with the marks that proto-loader sets where an optional field is there."""
    given = {"name": name, "price": 1, "color": "COLOR_RED", "tags": [], **fields}
    return {**given, **{f"_{name}": name for name in ("price", "color", "note") if name in given}}


@pytest.mark.parametrize(
    ("call", "result"),
    [
        ("total", 7),
        ("defaults", 2.5),
        ("paint", _item("tea", color="COLOR_BLUE", tags=["new", "BLUE"])),
        ("names", ["a", "b"]),
        (
            "numbers",
            {"item_1": "9007199254740994", "item_2": _buffer(99, 98, 97), "item_3": "0.20"},
        ),
        ("later", {"seconds": "86401", "nanos": 5000}),
        ("eitherNumber", {"value": "intValue", "intValue": "7"}),
        ("image", {"dtype": "int16", "shape": ["2"], "data": _buffer(2, 0, 4, 2)}),
        ("id", "12345678-1234-5678-1234-567812345678"),
        ("count", {"items": ["0", "1", "2"]}),
        ("items", {"items": [_item("tea"), _item("cup")]}),
        ("none", {"items": []}),
    ],
)
def test_values_come_and_go_as_they_are(told: Told, call: str, result: Any) -> None:
    """Whole numbers beyond 2**53 too; what is left out has the method's default."""
    assert told[call] == result


def test_a_misfit_is_told_by_field(told: Told) -> None:
    """In a BadRequest, which Node has to decode by itself."""
    reason = "expected a UUID, got 'no id'"
    assert told["invalid"]["code"] == "INVALID_ARGUMENT"
    assert told["invalid"]["details"]["BadRequest"] == {
        "field_violations": [{"field": "id", "description": reason}]
    }
    assert reason in told["invalid"]["message"]
    assert told["missing"]["code"] == "INVALID_ARGUMENT"
    [missing] = told["missing"]["details"]["BadRequest"]["field_violations"]
    assert missing["field"] == "color"


@pytest.mark.parametrize(("call", "items"), [("soldOut", None), ("soldOutLater", ["cup"])])
def test_a_user_s_error_has_the_status_that_it_declares(
    told: Told, call: str, items: list[str] | None
) -> None:
    """With its name; in a stream after the items that came before."""
    failure = told[call]
    assert (failure["code"], failure["message"]) == ("NOT_FOUND", "no tea left")
    assert failure["details"]["ErrorInfo"]["reason"] == "SoldOut"
    assert failure.get("items") == items


def test_any_other_error_is_told_by_its_request_alone(told: Told) -> None:
    """By the id under which the mesh's log has it."""
    request_id = told["failed"]["details"]["RequestInfo"]["request_id"]
    assert told["failed"]["code"] == "INTERNAL"
    assert request_id in told["failed"]["message"]
    assert "secret" not in json.dumps(told["failed"])


@pytest.mark.parametrize("call", ["late", "lateStream"])
def test_a_deadline_ends_a_call(told: Told, call: str) -> None:
    """One that would wait for ever."""
    assert told[call]["code"] == "DEADLINE_EXCEEDED"


def test_a_method_that_is_not_there_is_unimplemented(told: Told) -> None:
    """And the client is told how to find out what is."""
    assert told["unknown"]["code"] == "UNIMPLEMENTED"
    assert "reflection" in told["unknown"]["message"]


def test_metadata_reach_the_method(told: Told) -> None:
    """The request's id, the session and the model."""
    assert told["headers"] == ["from-node", "s7", "m2"]


def test_a_cancelled_stream_ends_in_the_method_too(told: Told) -> None:
    """Its `finally` runs, while the client goes on."""
    ended = {"item_1": "1", "item_2": "1"}
    assert told["cancelled"] == {"first": "1", "code": "CANCELLED", "held": ended}
