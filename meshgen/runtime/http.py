"""Answer one HTTP request on a replica: a real `Request` in, a head and chunks of body out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope

from meshgen.runtime.httpmessage import HttpHead, HttpRequest
from meshgen.runtime.jsontext import to_json_text
from meshgen.serve.response import DeploymentResponseGenerator

# A large body travels in pieces, so that a slow client holds back the replica.
_PIECE = 1 << 20


async def answer(
    call: Callable[..., Awaitable[Any]], takes_request: bool, request: HttpRequest
) -> AsyncGenerator[HttpHead | bytes, None]:
    """Run the user's code on a request; first the head, then the body without empty chunks.

    An empty chunk comes only where the body is complete and a background task still runs. Whatever
    the user's code raises comes out of here, as does `SerializationError`.
    """
    scope, receive = _scope(request), _receiver(request.body)
    result = await (call(Request(scope, receive)) if takes_request else call())
    if isinstance(result, (AsyncIterator, Iterator)):
        result = StreamingResponse(result, media_type="text/plain")
    if isinstance(result, Response):
        async with aclosing(_of_response(result, scope, receive)) as messages:
            async for message in messages:
                yield message
        return
    content_type, body = _encode(result)
    yield HttpHead(
        status=200,
        headers=((b"content-type", content_type), (b"content-length", b"%d" % len(body))),
    )
    for piece in _pieces(body):
        yield piece


def _scope(request: HttpRequest) -> Scope:
    return {
        "type": "http",
        # At 2.4 starlette would take a user's OSError for a client that went away.
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "method": request.method,
        "path": request.path,
        "raw_path": request.raw_path,
        "root_path": request.root_path,
        "query_string": request.query_string,
        "headers": list(request.headers),
        "client": request.client,
        "server": request.server,
        "scheme": request.scheme,
        "http_version": request.http_version,
    }


def _receiver(body: bytes) -> Receive:
    unread = [body]

    async def receive() -> Message:
        # `request.is_disconnected()` cancels what it awaits: that must not use up the body.
        await asyncio.sleep(0)
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        # A client that goes away cancels this whole call instead.
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return] # never

    return receive


def _encode(result: Any) -> tuple[bytes, bytes]:
    """Content type and body of a plain value."""
    if isinstance(result, str):
        return b"text/plain; charset=utf-8", result.encode()
    if result is None:
        return b"text/plain", b""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return b"text/plain", bytes(result)
    return b"application/json", to_json_text(result)


def _pieces(body: bytes) -> Iterator[bytes]:
    if len(body) > _PIECE:
        return (body[at : at + _PIECE] for at in range(0, len(body), _PIECE))
    return iter((body,) if body else ())


def _of_response(
    response: Response, scope: Scope, receive: Receive
) -> AsyncGenerator[HttpHead | bytes, None]:
    run = type(response).__call__
    if run is Response.__call__:
        return _whole(response)
    if run is StreamingResponse.__call__ and isinstance(response, StreamingResponse):
        return _streamed(response)
    return _as_asgi(response, scope, receive)


async def _whole(response: Response) -> AsyncGenerator[HttpHead | bytes, None]:
    yield HttpHead(status=response.status_code, headers=tuple(response.raw_headers))
    for piece in _pieces(bytes(response.body)):
        yield piece
    if response.background is not None:
        yield b""
        await response.background()


async def _streamed(response: StreamingResponse) -> AsyncGenerator[HttpHead | bytes, None]:
    chunks = response.body_iterator
    try:
        yield HttpHead(status=response.status_code, headers=tuple(response.raw_headers))
        async for chunk in chunks:
            for piece in _pieces(_chunk(chunk, response.charset)):
                yield piece
    finally:
        await _close(chunks)
    if response.background is not None:
        yield b""
        await response.background()


def _chunk(chunk: Any, charset: str) -> bytes:
    if isinstance(chunk, str):
        return chunk.encode(charset)
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise TypeError(
        f"a streamed HTTP answer is made of str or bytes, not {type(chunk).__name__}: "
        "encode each item, for example by json.dumps(item) + '\\n'"
    )


async def _close(chunks: Any) -> None:
    """Stop whoever makes the chunks, if nobody wants the rest."""
    if isinstance(chunks, DeploymentResponseGenerator):
        chunks.cancel()
    elif hasattr(chunks, "aclose"):
        await chunks.aclose()


async def _as_asgi(
    response: Response, scope: Scope, receive: Receive
) -> AsyncGenerator[HttpHead | bytes, None]:
    """Run a response that sends itself, such as a file, one message at a time."""
    sent: asyncio.Queue[Message | None] = asyncio.Queue()

    async def send(message: Message) -> None:
        sent.put_nowait(message)
        await sent.join()

    task = asyncio.ensure_future(response(scope, receive, send))
    task.add_done_callback(lambda _: sent.put_nowait(None))
    try:
        while (message := await sent.get()) is not None:
            for item in _of_message(message):
                yield item
            sent.task_done()
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _of_message(message: Message) -> Iterator[HttpHead | bytes]:
    if message["type"] == "http.response.start":
        yield HttpHead(status=message["status"], headers=tuple(message.get("headers", ())))
        return
    yield from _pieces(bytes(message.get("body", b"")))
    if not message.get("more_body", False):
        yield b""
