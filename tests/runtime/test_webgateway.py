"""How the gateway turns HTTP requests into calls, and their outcome into HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    NoSuchApplicationError,
    OptionError,
    ProtocolError,
    ReplicaLostError,
    RequestCancelledError,
    UnavailableError,
)
from meshgen.listener import bind
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.httpserver import make_server
from meshgen.runtime.refusal import RefusedError
from meshgen.runtime.webgateway import make_app
from meshgen.spec import MeshSpec
from tests.runtime.webmesh import (
    Code,
    InMemoryMesh,
    RawClient,
    app_at,
    ask,
    client_of,
    raising,
    serving,
)


async def test_the_ingress_gets_the_request_and_its_answer_becomes_http() -> None:
    """Method, path, query, headers and body arrive; status, headers and body come back."""

    async def echo(request: Request) -> Response:
        body = f"{request.method} {request.url} {request.headers['x-mine']} ".encode()
        return Response(body + await request.body(), 201, {"x-yours": "2"})

    answered = await ask(echo, "PUT", "/a%20b?q=1", headers={"x-mine": "1"}, content=b"body")
    assert answered.status_code == 201
    assert answered.headers["x-yours"] == "2"
    assert answered.text == "PUT http://gate:8000/a b?q=1 1 body"


@pytest.mark.parametrize(
    ("path", "prefix", "root_path"),
    [
        ("/", "/", ""),
        ("/elsewhere", "/", ""),
        ("/app", "/app", "/app"),
        ("/app/", "/app", "/app"),
        ("/app/x", "/app", "/app"),
        ("/apple", "/", ""),
        ("/app/v2/x", "/app/v2", "/app/v2"),
    ],
)
async def test_the_longest_prefix_answers(path: str, prefix: str, root_path: str) -> None:
    """Prefixes end at a slash; the ingress sees the full path, and the prefix as its root path."""

    def code_of(name: str) -> Code:
        return lambda request: [name, request.scope["path"], request.scope["root_path"]]

    mesh = InMemoryMesh({name: code_of(name) for name in ("/", "/app", "/app/v2")})
    async with client_of(mesh) as client:
        assert (await client.get(path)).json() == [prefix, path, root_path]
    assert mesh.contexts[0].app_name == prefix
    assert mesh.contexts[0].route == prefix


async def test_routes_follow_the_mesh_while_it_changes() -> None:
    """An application that is deployed later is found at once; one without a prefix never is."""
    mesh = InMemoryMesh({"/a": lambda _: "a", "/b": lambda _: "b"})
    whole, mesh.mesh = mesh.mesh, MeshSpec(apps={"/a": app_at("/a", None)})
    async with client_of(mesh) as client:
        assert (await client.get("/a")).status_code == 404
        assert (await client.get("/-/routes")).json() == {}
        mesh.mesh = whole
        assert (await client.get("/b")).text == "b"
        assert (await client.get("/-/routes")).json() == {"/a": "/a", "/b": "/b"}


async def test_a_path_without_an_application_is_not_found() -> None:
    """The text says where to look."""
    mesh = InMemoryMesh({"/app": lambda _: "x"})
    async with client_of(mesh) as client:
        answered = await client.get("/nope")
    assert answered.status_code == 404
    assert answered.text == (
        "Path '/nope' not found. Ping http://gate:8000/-/routes for available routes."
    )


async def test_the_gateway_is_healthy_without_any_application() -> None:
    """Health is about the gateway process alone."""
    async with client_of(InMemoryMesh({})) as client:
        answered = await client.get("/-/healthz")
    assert (answered.status_code, answered.text) == (200, "success")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("abc-1", "abc-1"), ("a\tb\x7fc", "abc"), ("x" * 300, "x" * 128)],
)
async def test_a_clients_request_id_is_kept_as_far_as_it_is_printable(
    given: str, expected: str
) -> None:
    """It cannot forge a header or a line of the log; it travels with the call and comes back."""
    mesh = InMemoryMesh({"/": lambda _: "x"})
    async with client_of(mesh) as client:
        answered = await client.get("/", headers={"x-request-id": given})
    assert answered.headers.get_list("x-request-id") == [expected]
    assert mesh.contexts[0].request_id == expected


@pytest.mark.parametrize("path", ["/", "/-/healthz", "/-/routes", "/app", "/nope"])
async def test_every_answer_has_a_request_id(path: str) -> None:
    """Where the client gives none it is a new one, on errors and on the gateway's own pages too."""
    mesh = InMemoryMesh({"/app": raising(KeyError("x"))})
    async with client_of(mesh) as client:
        first, second = [(await client.get(path)).headers["x-request-id"] for _ in range(2)]
    assert first != second
    assert len(first) > 8


async def test_the_multiplexed_model_of_a_request_travels_with_the_call() -> None:
    """By Ray Serve's header."""
    mesh = InMemoryMesh({"/": lambda _: "x"})
    async with client_of(mesh) as client:
        await client.get("/", headers={"serve_multiplexed_model_id": "m7"})
    assert mesh.contexts[0].multiplexed_model_id == "m7"
    assert mesh.contexts[0].deadline is None


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (BackPressureError("inner-7 has 5 waiting"), 503),
        (UnavailableError("unix:/run/inner-7"), 503),
        (ReplicaLostError("inner-7 died"), 503),
        (DeadlineError("inner-7 was late"), 408),
        (RequestCancelledError("inner-7"), 499),
        (OptionError("inner-7"), 500),
        (ValueError("inner-7"), 500),
        (TimeoutError("inner-7"), 500),
    ],
)
async def test_an_error_becomes_a_status_and_a_log_line_but_no_text(
    error: Exception, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The client learns the request id; what went wrong stands in the log beside that id."""
    caplog.set_level(logging.INFO, "meshgen.gateway")
    answered = await ask(raising(error), headers={"x-request-id": "r-9"})
    assert answered.status_code == status
    assert "r-9" in answered.text
    assert "inner-7" not in answered.text
    [record] = [r for r in caplog.records if r.name == "meshgen.gateway"]
    assert f"request r-9: GET / failed: {type(error).__name__}: {error}" == record.getMessage()


async def test_a_client_that_met_back_pressure_is_told_to_come_back() -> None:
    """By Retry-After."""
    answered = await ask(raising(BackPressureError("full")))
    assert answered.headers["retry-after"] == "1"


async def test_a_result_that_cannot_become_http_is_an_internal_error() -> None:
    """The body says no more than that."""
    answered = await ask(lambda _: object())
    assert answered.status_code == 500
    assert answered.text.startswith("Internal Server Error (request ")


async def test_an_ingress_that_ends_without_an_answer_is_an_internal_error() -> None:
    """A stream without a head is no answer."""

    class Silent(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            return

    assert (await ask(lambda _: Silent())).status_code == 500


async def test_a_request_that_takes_too_long_is_answered_and_cancelled() -> None:
    """The client's own limit becomes the call's deadline, then 408."""
    mesh = InMemoryMesh({"/": lambda _: asyncio.get_running_loop().create_future()})
    async with client_of(mesh) as client:
        answered = await client.get("/", headers={"x-request-timeout-seconds": "0.02"})
    await mesh.settled()
    assert answered.status_code == 408
    assert answered.text == f"Request {answered.headers['x-request-id']} timed out"
    left = mesh.contexts[0].time_left()
    assert left is not None
    assert left < 0.02


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan", "inf"])
async def test_a_timeout_that_is_no_number_of_seconds_is_refused(given: str) -> None:
    """With 400 and the header's name; nothing is called."""
    mesh = InMemoryMesh({"/": lambda _: "x"})
    async with client_of(mesh) as client:
        answered = await client.get("/", headers={"x-request-timeout-seconds": given})
    assert answered.status_code == 400
    assert answered.text.startswith("x-request-timeout-seconds must be")
    assert mesh.contexts == []


async def test_headers_of_one_connection_are_not_forwarded() -> None:
    """The server writes its own framing, date and request id; all else comes through."""
    given = {"connection": "x", "keep-alive": "1", "transfer-encoding": "chunked", "date": "now"}
    response = Response("x", headers=given | {"x-request-id": "forged", "x-mine": "1"})
    answered = await ask(lambda _: response)
    assert set(answered.headers) == {"content-length", "x-mine", "x-request-id"}
    assert answered.headers["x-request-id"] != "forged"


async def test_a_status_without_a_body_has_none() -> None:
    """Even if the code gave one, which HTTP does not allow."""
    answered = await ask(lambda _: StreamingResponse(iter(["x", "y"]), 204))
    assert (answered.status_code, answered.content) == (204, b"")


async def test_a_body_in_many_pieces_arrives_whole() -> None:
    """Each piece is copied once."""
    pieces = [bytes([at % 256]) * 1000 for at in range(500)]

    async def check(request: Request) -> bool:
        return await request.body() == b"".join(pieces)

    client = RawClient(InMemoryMesh({"/": check}), *pieces)
    await client.run()
    assert client.body == b"true"


async def test_a_body_over_the_limit_is_refused_while_it_arrives() -> None:
    """With 413, before the rest is read."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"x" * 60, "more_body": True}

    async def send(_: Message) -> None:
        return

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    with pytest.raises(RefusedError, match="must not exceed 100 bytes") as caught:
        await Exchange(scope, receive, send, max_body=100).read("")
    assert caught.value.status == 413


async def test_a_client_that_leaves_before_its_request_is_complete_starts_no_call() -> None:
    """There is nobody to answer."""
    mesh = InMemoryMesh({"/": lambda _: "x"})
    client = RawClient(mesh)
    client.say({"type": "http.request", "body": b"half", "more_body": True})
    client.leave()
    await client.run()
    assert client.sent == []
    assert mesh.contexts == []


async def test_a_client_that_leaves_before_the_answer_cancels_the_call() -> None:
    """The user's code gets CancelledError while it waits."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> None:
        began.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            ended.set()
            raise

    mesh = InMemoryMesh({"/": slow})
    client = RawClient(mesh, b"")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(client.run())
        await began.wait()
        client.leave()
    await mesh.settled()
    assert ended.is_set()
    assert client.sent == []


async def test_a_client_that_leaves_in_mid_stream_cancels_the_call() -> None:
    """The generator's `finally` runs, and the gateway has no error to report."""
    ended = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "first"
            client.leave()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    mesh = InMemoryMesh({"/": lambda _: StreamingResponse(endless())})
    client = RawClient(mesh, b"")
    await client.run()
    await mesh.settled()
    assert ended.is_set()
    assert client.body == b"first"


async def test_a_slow_client_holds_back_the_producer() -> None:
    """What is made ahead of the client is bounded."""
    made = []

    async def count() -> AsyncIterator[str]:
        for at in range(100):
            made.append(at)
            yield "x"

    mesh = InMemoryMesh({"/": lambda _: StreamingResponse(count())})
    client = RawClient(mesh, b"")
    client.reads.clear()
    task = asyncio.ensure_future(client.run())
    for _ in range(1000):  # turns of the loop, far more than 100 chunks take
        await asyncio.sleep(0)
    assert len(made) < 5
    client.reads.set()
    await task
    assert client.body == b"x" * 100


async def test_an_error_in_mid_stream_breaks_the_connection() -> None:
    """The server must not make it look like a complete answer."""

    async def broken() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("too late")

    client = RawClient(InMemoryMesh({"/": lambda _: StreamingResponse(broken())}), b"")
    with pytest.raises(ValueError, match="too late"):
        await client.run()
    assert client.body == b"first"
    assert client.sent[-1]["more_body"] is True


@pytest.mark.parametrize("kind", [Response, StreamingResponse])
async def test_a_background_task_runs_on_after_the_client_has_its_answer(kind: Any) -> None:
    """The answer is complete before the task ends; a client that leaves then cancels nothing."""
    ended = asyncio.Event()

    async def later() -> None:
        assert client.sent[-1]["more_body"] is False
        client.leave()
        for _ in range(10):
            await asyncio.sleep(0)
        ended.set()

    content = "x" if kind is Response else iter(["x"])
    mesh = InMemoryMesh({"/": lambda _: kind(content, background=BackgroundTask(later))})
    client = RawClient(mesh, b"")
    await client.run()
    await mesh.settled()
    assert ended.is_set()
    assert client.body == b"x"


async def test_a_background_task_that_fails_is_logged_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client has had its answer."""
    task = BackgroundTask(raising(ValueError("too late")), None)
    answered = await ask(lambda _: Response("x", background=task))
    assert (answered.status_code, answered.text) == (200, "x")
    assert "ValueError: too late" in caplog.text


async def test_a_request_leaves_a_line_in_the_access_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Client, request, status and request id; the path cannot break the line."""
    caplog.set_level(logging.INFO, "meshgen.access")
    await ask(lambda _: "x", "GET", "/a%0Ab", headers={"x-request-id": "r-1"})
    [line] = [r.getMessage() for r in caplog.records if r.name == "meshgen.access"]
    assert line.startswith('10.0.0.9:99 "GET /a%0Ab" 200 ')
    assert line.endswith("ms r-1")


async def test_a_websocket_is_refused() -> None:
    """With the code for what a server cannot do, before it is accepted."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    mesh = InMemoryMesh({})
    await make_app(lambda: mesh.mesh, mesh)({"type": "websocket", "path": "/"}, receive, send)
    [message] = sent
    assert (message["type"], message["code"]) == ("websocket.close", 1011)


async def test_the_lifespan_protocol_is_not_spoken() -> None:
    """A server that tries it learns that it is not supported, as ASGI says."""
    mesh = InMemoryMesh({})
    client = RawClient(mesh)
    with pytest.raises(ProtocolError, match="lifespan"):
        await make_app(lambda: mesh.mesh, mesh)({"type": "lifespan"}, client._inbox.get, print)  # type: ignore[arg-type] # never sent to


def test_an_unknown_application_is_not_found_by_name() -> None:
    """The stand-in mesh above refuses like a real one."""
    with pytest.raises(NoSuchApplicationError, match="no application 'x'"):
        InMemoryMesh({}).ingress_of("x")


async def test_over_a_socket_requests_are_answered_on_one_connection() -> None:
    """Whole answers, streams, HEAD and large bodies, with keep-alive between them."""

    async def code(request: Request) -> Any:
        if request.url.path == "/stream":
            return iter(["a", "b"])
        return len(await request.body())

    mesh = InMemoryMesh({"/": code})
    async with serving(mesh) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as web:
        assert (await web.post("/", content=b"x" * (5 << 20))).json() == 5 << 20
        assert (await web.get("/stream")).text == "ab"
        assert (await web.head("/")).headers["content-length"] == "1"
        assert (await web.get("/")).headers.get_list("content-length") == ["1"]
    assert json.dumps([context.route for context in mesh.contexts]) == '["/", "/", "/", "/"]'


async def test_over_a_socket_a_client_that_leaves_cancels_the_call() -> None:
    """The callable's `finally` runs while the server goes on."""
    began, ended = asyncio.Event(), asyncio.Event()

    async def slow(_: Request) -> None:
        try:
            began.set()
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async with serving(InMemoryMesh({"/": slow})) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        await began.wait()
        writer.close()
        async with asyncio.timeout(5):
            await ended.wait()
        await writer.wait_closed()


async def test_over_a_socket_an_error_in_mid_stream_is_seen_by_the_client() -> None:
    """The chunked body ends without its end."""

    async def broken() -> AsyncIterator[str]:
        yield "first"
        raise ValueError("too late")

    mesh = InMemoryMesh({"/": lambda _: StreamingResponse(broken())})
    async with serving(mesh) as port, httpx.AsyncClient() as web:
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get(f"http://127.0.0.1:{port}/")


async def test_a_request_that_runs_is_finished_before_the_server_stops() -> None:
    """It answers although nobody new is let in any more."""

    async def until_closed(_: Request) -> str:
        server.should_exit = True
        while listener.fileno() >= 0:  # noqa: ASYNC110 # nothing says when uvicorn closes it
            await asyncio.sleep(0)
        return "done"

    mesh = InMemoryMesh({"/": until_closed})
    server = make_server(make_app(lambda: mesh.mesh, mesh))
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    async with asyncio.TaskGroup() as tasks, httpx.AsyncClient() as web:
        tasks.create_task(server.serve(sockets=[listener]))
        assert (await web.get(f"http://127.0.0.1:{port}/")).text == "done"
