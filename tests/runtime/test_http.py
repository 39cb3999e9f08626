"""What the user's code sees of an HTTP request, and what becomes of what it returns."""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pytest
from pydantic import BaseModel
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    JSONResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)

from meshgen.errors import SerializationError
from meshgen.items import ItemBuffer
from meshgen.runtime.http import answer
from meshgen.runtime.httpmessage import HttpHead, HttpRequest
from meshgen.serve.response import DeploymentResponseGenerator

POST = HttpRequest(
    method="POST",
    path="/app/greet",
    root_path="/app",
    query_string=b"name=Dora&x=1",
    headers=((b"host", b"example.test"), (b"content-type", b"application/json")),
    client=("10.0.0.1", 4711),
    body=b'{"language": "spanish"}',
)


class Answered(NamedTuple):
    """A whole answer: the head, and the chunks of the body."""

    head: HttpHead
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        """The body in one piece."""
        return b"".join(self.chunks)

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers by name."""
        return dict(self.head.headers)


async def run(code: Callable[..., Any], request: HttpRequest = POST) -> Answered:
    """Answer a request by code that takes it."""
    head, *chunks = [item async for item in answer(as_async(code), True, request)]
    assert isinstance(head, HttpHead)
    return Answered(head, [chunk for chunk in chunks if isinstance(chunk, bytes)])


async def returned(value: Any) -> Answered:
    """The answer of code that returns this value."""
    return await run(lambda _: value)


def as_async(code: Callable[..., Any]) -> Callable[..., Any]:
    """The code as the replica calls it."""

    async def call(*args: Any) -> Any:
        result = code(*args)
        return await result if inspect.iscoroutine(result) else result

    return call


async def test_the_code_gets_a_real_request() -> None:
    """Method, URL, query, headers, client, root path and JSON body are those of the client."""

    async def look(request: Request) -> Any:
        assert request.client is not None
        return {
            "method": request.method,
            "url": str(request.url),
            "name": request.query_params["name"],
            "type": request.headers["Content-Type"],
            "client": [request.client.host, request.client.port],
            "root": request.scope["root_path"],
            "json": await request.json(),
        }

    assert json.loads((await run(look)).body) == {
        "method": "POST",
        "url": "http://example.test/app/greet?name=Dora&x=1",
        "name": "Dora",
        "type": "application/json",
        "client": ["10.0.0.1", 4711],
        "root": "/app",
        "json": {"language": "spanish"},
    }


async def test_code_without_a_parameter_is_called_with_none() -> None:
    """`takes_request` False leaves the request out."""

    async def call() -> str:
        return "hello"

    items = [item async for item in answer(call, False, POST)]
    assert items[1:] == [b"hello"]


async def test_asking_for_a_disconnect_does_not_use_up_the_body() -> None:
    """`is_disconnected()` is False while the call runs, and the body can still be streamed."""

    async def look(request: Request) -> Any:
        gone = await request.is_disconnected()
        body = b"".join([chunk async for chunk in request.stream()])
        return [gone, body.decode(), await request.is_disconnected()]

    assert json.loads((await run(look)).body) == [False, POST.body.decode(), False]


@pytest.mark.parametrize(
    ("value", "content_type", "body"),
    [
        ("señor", b"text/plain; charset=utf-8", "señor".encode()),
        (b"\x00\xff", b"text/plain", b"\x00\xff"),
        (bytearray(b"ab"), b"text/plain", b"ab"),
        (None, b"text/plain", b""),
        ({"a": [1, 2.5, None, True]}, b"application/json", b'{"a":[1,2.5,null,true]}'),
        ((1, "ñ"), b"application/json", '[1,"ñ"]'.encode()),
        (7, b"application/json", b"7"),
        (True, b"application/json", b"true"),
    ],
)
async def test_plain_values_become_bodies(value: Any, content_type: bytes, body: bytes) -> None:
    """Text, bytes, nothing and JSON each have their content type and exact length."""
    found = await returned(value)
    assert found.head.status == 200
    assert found.body == body
    assert found.headers == {
        b"content-type": content_type,
        b"content-length": str(len(body)).encode(),
    }


class Colour(Enum):
    """An enum whose values are numbers."""

    RED = 1


class Model(BaseModel):
    """A pydantic model with a field that JSON does not know."""

    at: date
    name: str = "m"


@dataclass
class Point:
    """A dataclass that holds others' types."""

    x: Any
    inner: Any = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({3}, [3]),
        (Model(at=date(2026, 1, 2)), {"at": "2026-01-02", "name": "m"}),
        ([Model(at=date(2026, 1, 2))], [{"at": "2026-01-02", "name": "m"}]),
        (Point(np.float32(0.5), Point({1})), {"x": 0.5, "inner": {"x": [1], "inner": None}}),
        (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        ({"n": np.int64(3), "b": np.bool_(True)}, {"n": 3, "b": True}),
        ({np.int64(3): 1, Colour.RED: {UUID(int=1): 2}}, {"3": 1, "1": {str(UUID(int=1)): 2}}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (timedelta(seconds=1.5), 1.5),
        ([Decimal("2.5"), Decimal(4)], [2.5, 4]),
        ([UUID(int=1), PurePosixPath("a/b"), Colour.RED], [str(UUID(int=1)), "a/b", 1]),
        ({"raw": b"abc"}, {"raw": "abc"}),
    ],
)
async def test_values_of_other_types_become_json(value: Any, expected: Any) -> None:
    """Models, dataclasses, arrays, dates and the like, at any depth and as keys."""
    found = await returned(value)
    assert found.headers[b"content-type"] == b"application/json"
    assert json.loads(found.body) == expected


@pytest.mark.parametrize(
    "value", [object(), {"a": object()}, {(1, 2): 3}, [float("nan")], np.array([np.inf]), Point]
)
async def test_a_result_without_json_form_is_an_error_that_names_its_type(value: Any) -> None:
    """NaN is refused too, for no JSON reader would take it."""
    with pytest.raises(SerializationError, match=f"{type(value).__name__} cannot become JSON"):
        await returned(value)


async def test_a_value_that_contains_itself_is_refused() -> None:
    """The encoder's own error becomes ours."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SerializationError, match="list cannot become JSON"):
        await returned(loop)


async def test_an_exception_of_the_code_comes_out_as_it_is() -> None:
    """The replica logs it and the gateway answers 500; nothing is sent before."""

    def broken(_: Request) -> None:
        raise ZeroDivisionError("by zero")

    with pytest.raises(ZeroDivisionError, match="by zero"):
        await run(broken)


@pytest.mark.parametrize(
    ("response", "status", "header", "body"),
    [
        (Response("made", 201, {"x-mine": "1"}), 201, (b"x-mine", b"1"), b"made"),
        (JSONResponse({"a": 1}), 200, (b"content-type", b"application/json"), b'{"a":1}'),
        (RedirectResponse("/else"), 307, (b"location", b"/else"), b""),
        (Response(memoryview(b"view")), 200, (b"content-length", b"4"), b"view"),
    ],
)
async def test_a_starlette_response_passes_through(
    response: Response, status: int, header: tuple[bytes, bytes], body: bytes
) -> None:
    """Status, headers and body are the response's own."""
    found = await returned(response)
    assert (found.head.status, found.body) == (status, body)
    assert header in found.head.headers


async def test_a_response_that_sends_itself_is_run(tmp_path: Path) -> None:
    """A file is read by the response's own code."""
    file = tmp_path / "page.html"
    file.write_bytes(b"x" * 200_000)
    found = await returned(FileResponse(file))
    assert found.headers[b"content-type"].startswith(b"text/html")
    assert found.body == b"x" * 200_000


async def test_a_large_body_travels_in_pieces() -> None:
    """None is over a megabyte, so that a slow client holds back the replica."""
    found = await returned(b"x" * (5 << 20))
    assert [len(chunk) for chunk in found.chunks] == [1 << 20] * 5


async def numbers() -> AsyncIterator[str]:
    """Two chunks, asynchronously."""
    yield "1"
    yield "2"


def letters() -> Iterator[str | bytes]:
    """Two chunks of either type."""
    yield "ä"
    yield b"b"


@pytest.mark.parametrize(
    ("make", "chunks"),
    [(numbers, [b"1", b"2"]), (letters, ["ä".encode(), b"b"])],
)
@pytest.mark.parametrize("wrap", [StreamingResponse, None])
async def test_generators_are_streamed_chunk_by_chunk(
    make: Callable[[], Any], chunks: list[bytes], wrap: Any
) -> None:
    """Sync and async, in a StreamingResponse or returned directly as text."""
    found = await returned(wrap(make(), 202, media_type="text/csv") if wrap else make())
    assert found.chunks == chunks
    assert found.head.status == (202 if wrap else 200)
    kind = b"text/csv" if wrap else b"text/plain"
    assert found.headers == {b"content-type": kind + b"; charset=utf-8"}


async def test_a_streaming_response_may_override_how_it_is_run() -> None:
    """A subclass with a `__call__` of its own is run as ASGI."""

    class Framed(StreamingResponse):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"[", "more_body": True})
            await send({"type": "http.response.body", "body": b"]"})

    # The empty chunk says that the body is complete, whatever the response does next.
    assert (await returned(Framed(letters()))).chunks == [b"[", b"]", b""]


async def test_items_of_another_deployment_can_be_streamed_on() -> None:
    """A `DeploymentResponseGenerator` is an async iterator; left early, it is cancelled."""
    source: DeploymentResponseGenerator[str] = DeploymentResponseGenerator("r1")
    feed(source.items, ["a", "b"])
    async with aclosing(answer(as_async(lambda _: source), True, POST)) as items:
        await anext(items)
        assert await anext(items) == b"a"
    assert source.cancelled()


def feed(items: ItemBuffer, values: list[str]) -> None:
    """Put items as a feeder does."""
    from meshgen.types import Payload

    items.put([Payload(pickle.dumps(v)) for v in values], lambda p: pickle.loads(p.pickle))


async def test_an_error_in_mid_stream_comes_after_the_chunks_before_it() -> None:
    """Even an OSError is the user's error, not a client that went away."""

    async def broken() -> AsyncIterator[str]:
        yield "first"
        raise FileNotFoundError("no such file")

    items = answer(as_async(lambda _: StreamingResponse(broken())), True, POST)
    await anext(items)
    assert await anext(items) == b"first"
    with pytest.raises(FileNotFoundError, match="no such file"):
        await anext(items)


async def test_a_chunk_that_is_neither_text_nor_bytes_is_refused() -> None:
    """The error says what a stream is made of."""
    with pytest.raises(TypeError, match="made of str or bytes, not dict"):
        await returned(iter([{"a": 1}]))


@pytest.mark.parametrize("wrap", [StreamingResponse, lambda chunks: chunks])
async def test_closing_the_answer_ends_the_users_generator(wrap: Callable[[Any], Any]) -> None:
    """Its `finally` has run when the close returns."""
    ended = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            ended.append(True)

    async with aclosing(answer(as_async(lambda _: wrap(endless())), True, POST)) as items:
        await anext(items)
        await anext(items)
    assert ended == [True]


async def test_closing_the_answer_ends_a_response_that_sends_itself() -> None:
    """Its task does not outlive the call."""
    ended = []

    class Endless(Response):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            try:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await receive()  # the body
                await receive()  # never: the client is there
            finally:
                ended.append(True)

    async with aclosing(answer(as_async(lambda _: Endless()), True, POST)) as items:
        await anext(items)
    assert ended == [True]


@pytest.mark.parametrize("kind", [Response, StreamingResponse])
async def test_a_background_task_runs_once_the_body_is_complete(kind: Any) -> None:
    """An empty chunk marks the end of the body before the task starts."""
    ran: list[bool] = []

    async def later() -> None:
        ran.append(True)

    content = "x" if kind is Response else iter(["x"])
    response = kind(content, background=BackgroundTask(later))
    items = answer(as_async(lambda _: response), True, POST)
    seen = [await anext(items) for _ in range(3)]
    assert seen[1:] == [b"x", b""]
    assert ran == []
    assert [item async for item in items] == []
    assert ran == [True]


@pytest.mark.parametrize("size", [0, 10, 1 << 20])
@pytest.mark.parametrize("out_of_band", [True, False])
def test_a_request_pickles_with_its_body(size: int, out_of_band: bool) -> None:
    """Large bodies go out of band where that is possible; they come back as bytes either way."""
    request = HttpRequest(method="POST", path="/", body=b"x" * size, client=("h", 1))
    buffers: list[pickle.PickleBuffer] = []
    collect = buffers.append if out_of_band else None
    text = pickle.dumps(request, protocol=5, buffer_callback=collect)
    carried = [bytearray(buffer.raw()) for buffer in buffers]
    back = pickle.loads(text, buffers=carried)
    assert back == request == pickle.loads(pickle.dumps(request, protocol=4))
    assert type(back.body) is bytes
    assert len(carried) == (1 if out_of_band and size > 10 else 0)


def test_a_head_pickles() -> None:
    """Status and headers survive."""
    head = HttpHead(status=204, headers=((b"a", b"b"),))
    assert pickle.loads(pickle.dumps(head)) == head
