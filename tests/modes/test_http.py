"""HTTP in front of an ingress: what clients send and what they get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from meshgen.testing import Mode, run_http
from tests.apps import cancelling, web

pytestmark = pytest.mark.asyncio(loop_scope="module")


def _client(address: str) -> httpx.AsyncClient:
    # No proxy stands between a test and its own machine.
    return httpx.AsyncClient(base_url=address, trust_env=False, timeout=20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mode: Mode) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the ingress of tests/apps/web.py."""
    async with run_http(web.app, mode=mode) as address, _client(address) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "content_type", "body"),
    [
        ("str", "text/plain; charset=utf-8", "¡Hola!".encode()),
        ("bytes", "text/plain", b"\0raw"),
        ("none", "text/plain", b""),
    ],
)
async def test_text_and_bytes_are_sent_as_they_are(
    client: httpx.AsyncClient, path: str, content_type: str, body: bytes
) -> None:
    """Nothing is quoted."""
    answer = await client.get(f"/{path}")
    assert (answer.status_code, answer.content) == (200, body)
    assert answer.headers["content-type"] == content_type


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dict", {"a": [1, None, True]}),
        ("list", [1, 2]),
        ("int", 3),
        ("pydantic", {"name": "tea", "price": 1.5}),
        ("dataclass", {"x": 1, "y": 2}),
        ("nested", {"items": [{"name": "tea", "price": 1.5}], "at": {"x": 1, "y": 2}}),
        ("numpy", [[0, 1], [2, 3]]),
        ("scalar", 0.5),
    ],
)
async def test_other_values_are_sent_as_json(
    client: httpx.AsyncClient, path: str, value: object
) -> None:
    """Models, dataclasses and arrays at any depth."""
    answer = await client.get(f"/{path}")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == value


async def test_the_ingress_gets_the_whole_request(client: httpx.AsyncClient) -> None:
    """A real Starlette request: method, path, query, headers and body."""
    answer = await client.put(
        "/some/request?a=1&b=%20x", content="¡Hola!", headers={"x-mine": "yes"}
    )
    assert answer.json() == {
        "method": "PUT",
        "path": "/some/request",
        "query": {"a": "1", "b": " x"},
        "header": "yes",
        "body": "¡Hola!",
        "request_id": None,
    }


@pytest.mark.parametrize(
    ("path", "status", "header", "value"),
    [
        ("redirect", 307, "location", "/elsewhere"),
        ("teapot", 418, "content-type", "text/x-tea; charset=utf-8"),
    ],
)
async def test_starlette_responses_pass_with_status_and_headers(
    client: httpx.AsyncClient, path: str, status: int, header: str, value: str
) -> None:
    """What the user's code says is what the client gets."""
    answer = await client.get(f"/{path}")
    assert answer.status_code == status
    assert answer.headers[header] == value


async def test_json_goes_both_ways(client: httpx.AsyncClient) -> None:
    """With status and headers of the response."""
    answer = await client.post("/json", json={"name": "Dora"})
    assert (answer.status_code, answer.json()) == (201, {"name": "Dora"})
    assert answer.headers["x-mine"] == "yes"


async def test_streams_reach_the_client(client: httpx.AsyncClient) -> None:
    """From a handle's generator, and from a plain one."""
    async with client.stream("GET", "/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert "".join([text async for text in answer.aiter_text()]) == "hola"
    assert (await client.get("/generator")).text == "0\n1\n2\n"


async def test_an_error_after_the_head_breaks_the_connection(client: httpx.AsyncClient) -> None:
    """A client must not take half an answer for a whole one."""
    with pytest.raises(httpx.RemoteProtocolError):
        await client.get("/breaks")


@pytest.mark.parametrize("path", ["error", "exit", "unserialisable", "no_such_method"])
async def test_an_error_is_500_with_the_request_id_and_no_detail(
    client: httpx.AsyncClient, path: str
) -> None:
    """What went wrong is for the log, not for strangers."""
    answer = await client.get(f"/{path}", headers={"x-request-id": "mine-1"})
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] == "mine-1"
    assert "mine-1" in answer.text
    for secret in ("secret", "Traceback", "ValueError", "web.py"):
        assert secret not in answer.text


async def test_an_overloaded_callee_is_503(client: httpx.AsyncClient) -> None:
    """Which tells clients to try again."""
    assert (await client.get("/overloaded")).status_code == 503


async def test_every_answer_has_a_request_id(client: httpx.AsyncClient) -> None:
    """The client's own, or a new one each time."""
    own = await client.get("/str", headers={"x-request-id": "abc"})
    assert own.headers["x-request-id"] == "abc"
    first, second = await client.get("/str"), await client.get("/str")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_the_gateway_answers_for_itself(client: httpx.AsyncClient) -> None:
    """Health and routes."""
    assert (await client.get("/-/healthz")).text == "success"
    assert (await client.get("/-/routes")).json() == {"/": "default"}


async def test_large_bodies_go_both_ways(client: httpx.AsyncClient) -> None:
    """Beyond gRPC's 4 MB default."""
    size = 6_000_000
    assert (await client.post("/size", content=b"x" * size)).json() == size
    assert len((await client.get(f"/large?size={size}")).content) == size


async def test_many_clients_at_once_get_their_own_answers(client: httpx.AsyncClient) -> None:
    """Nothing mixes."""
    answers = await asyncio.gather(
        *(client.post("/json", json=number) for number in range(100)),
    )
    assert [answer.json() for answer in answers] == list(range(100))


async def test_a_request_may_be_given_a_time(client: httpx.AsyncClient) -> None:
    """After which it is 408, and the work is cancelled."""
    answer = await client.get("/slow", headers={"x-request-timeout-seconds": "0.2"})
    assert answer.status_code == 408


@pytest.mark.parametrize("path", ["", "stream"])
async def test_a_client_that_goes_away_cancels_the_call(mode: Mode, path: str) -> None:
    """At every hop, whether the answer has begun or not."""
    async with run_http(cancelling.app, mode=mode) as address, _client(address) as client:
        async with _client(address) as impatient:
            request = asyncio.create_task(_read(impatient, f"/{path}?tag=gone"))
            assert (await client.get("/until?tag=gone+began")).text == "it happened"
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)
        assert (await client.get("/until?tag=gone+cancelled")).text == "it happened"


async def _read(client: httpx.AsyncClient, path: str) -> None:
    async with client.stream("GET", path) as answer:
        async for _ in answer.aiter_bytes():
            pass


async def test_ingresses_without_a_request_and_functions_are_served(mode: Mode) -> None:
    """A parameter is optional, and so is a class."""
    for app, text in ((web.Bare, "no request needed"), (web.function, "you asked for /x")):
        async with run_http(app.bind(), mode=mode) as address, _client(address) as client:
            assert (await client.get("/x")).text == text


async def test_an_ingress_that_cannot_be_called_is_an_error(mode: Mode) -> None:
    """A class without `__call__` has no answer to HTTP, and says so in the log."""
    async with run_http(web.Letters.bind(), mode=mode) as address, _client(address) as client:
        assert (await client.get("/")).status_code == 500
