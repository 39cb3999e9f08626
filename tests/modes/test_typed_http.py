"""Typed methods over HTTP: JSON in and out, streams as events, and what describes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from meshgen.testing import Mode, run_http
from tests.apps import typedshop

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(mode: Mode) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the gateway of tests/apps/typedshop.py."""
    async with run_http(typedshop.chained, mode=mode) as address:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client:
            yield client


async def post(web: httpx.AsyncClient, method: str, body: Any = None, **options: Any) -> Any:
    """The result of a method."""
    answer = await web.post(f"/Shop/{method}", json=body, **options)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json().get("result")


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: name and data."""
    found = []
    for block in text.strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((lines.get("event", ""), json.loads(lines["data"])))
    return found


async def test_methods_answer_in_protobufs_json(web: httpx.AsyncClient) -> None:
    """Under the names of the parameters; 64-bit numbers are strings; nothing at all is `{}`."""
    items = [{"name": "tea", "price": 2.0}, {"name": "cup"}]
    assert await post(web, "total", {"items": items, "rate": 2}) == 6.0
    assert await post(web, "plain", {"x": 1}) == await post(web, "plain", {"x": "1"}) == "2"
    assert await post(web, "stock", {"name": "four"}) == "4"
    assert await post(web, "waits") == "0"
    text = "ñ" * 200_000
    assert await post(web, "repeat", {"text": text}) == text


async def test_a_stream_is_a_list_of_events(web: httpx.AsyncClient) -> None:
    """The last one says that it is complete, also of an empty one."""
    answer = await web.post("/Shop/count", json={"n": 3})
    assert answer.headers["content-type"] == "text/event-stream"
    assert events(answer.text) == [
        *(("", {"result": str(n)}) for n in range(3)),
        ("end", {}),
    ]
    assert events((await web.post("/Shop/count", json={"n": 0})).text) == [("end", {})]


@pytest.mark.parametrize(
    ("method", "body", "status", "code", "message"),
    [
        ("find", {"id": "x"}, 400, 3, "UUID"),
        ("plain", {"y": 1}, 400, 3, 'has no field named "y"'),
        ("plain", [], 400, 3, "the body is no default.shop.v1.PlainRequest"),
        ("sell", {"name": "tea"}, 404, 5, "no tea left"),
        ("brew", {}, 418, 9, "short and stout"),
        ("fail", {}, 500, 13, "the request failed (request r-1)"),
    ],
)
async def test_an_error_has_its_status_and_says_what_clients_may_know(
    web: httpx.AsyncClient, method: str, body: Any, status: int, code: int, message: str
) -> None:
    """The same as over gRPC, by one table."""
    answer = await web.post(f"/Shop/{method}", json=body, headers={"x-request-id": "r-1"})
    assert answer.status_code == status
    assert answer.json()["code"] == code and message in answer.json()["message"]
    assert answer.headers["x-request-id"] == "r-1"
    assert "secret" not in answer.text
    info = answer.json()["details"][-1]
    assert info == {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-1"}


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"\x80\x05K\x01."])
async def test_a_body_that_is_no_json_is_refused(web: httpx.AsyncClient, body: bytes) -> None:
    """Whatever it is."""
    answer = await web.post("/Shop/plain", content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


async def test_a_stream_that_breaks_says_so_in_its_last_event(web: httpx.AsyncClient) -> None:
    """Before the first item it is the status of the whole."""
    answer = await web.post("/Shop/fail_later", json={})
    first, last = events(answer.text)
    assert first == ("", {"result": "1"})
    assert last[0] == "error" and last[1]["message"] == "that was all"
    assert (await web.post("/Shop/count", json={"n": "x"})).status_code == 400


async def test_headers_reach_the_request(web: httpx.AsyncClient) -> None:
    """And so does the client's deadline."""
    headers = {"x-request-id": "r-2", "session_id": "s", "multiplexed_model_id": "m"}
    timeout = {"x-request-timeout-seconds": "5"}
    assert await post(web, "whoami", headers=headers) == ["r-2", "s", "m", ""]
    assert await post(web, "whoami", headers=headers | timeout) == ["r-2", "s", "m", "deadline"]
    answer = await web.post("/Shop/wait", headers={"x-request-timeout-seconds": "0.1"})
    assert (answer.status_code, answer.json()["code"]) == (504, 4)


async def test_a_client_that_leaves_cancels_the_method(web: httpx.AsyncClient) -> None:
    """As the method itself says."""
    ends = int(await post(web, "ends"))
    task = asyncio.ensure_future(web.post("/Shop/wait"))
    while await post(web, "waits") == "0":
        pass
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    while int(await post(web, "ends")) == ends:
        pass


async def test_only_what_is_exposed_is_there(web: httpx.AsyncClient) -> None:
    """And only by POST: the rest goes to the ingress, as ever."""
    for path in ("/Store/stock", "/Shop/anything", "/Shop/nothing"):
        assert (await web.post(path, json={"name": "x"})).status_code == 500
    assert (await web.get("/Shop/plain")).status_code == 500


async def test_the_document_describes_every_method(web: httpx.AsyncClient) -> None:
    """Every reference in it leads somewhere."""
    answer = await web.get("/-/openapi.json")
    document = answer.json()
    assert document["openapi"].startswith("3.1.")
    assert "/Shop/total" in document["paths"] and "/Store/stock" not in document["paths"]
    schemas = document["components"]["schemas"]
    for part in answer.text.split('"$ref": "#/components/schemas/')[1:]:
        assert part.split('"')[0] in schemas
    total = document["paths"]["/Shop/total"]["post"]
    asked = total["requestBody"]["content"]["application/json"]["schema"]["$ref"]
    fields = schemas[asked.rpartition("/")[2]]["properties"]
    assert fields["rate"] == {"type": "number", "format": "double"}
    assert fields["items"]["items"]["$ref"].endswith("default.shop.v1.Item")
    assert (
        "text/event-stream"
        in (document["paths"]["/Shop/count"]["post"]["responses"]["200"]["content"])
    )


async def test_the_page_needs_nothing_from_elsewhere(web: httpx.AsyncClient) -> None:
    """It works offline."""
    answer = await web.get("/-/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "openapi.json" in answer.text
    assert "http:" not in answer.text and "https:" not in answer.text
