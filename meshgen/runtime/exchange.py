"""One HTTP exchange at the gateway: the client's request, and how far the answer to it has come."""

from __future__ import annotations

import math
import re
from typing import TypeAlias
from urllib.parse import quote

from starlette.types import Message, Receive, Scope, Send

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import RequestCancelledError
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime.httpmessage import HeaderList, HttpHead, HttpRequest
from meshgen.runtime.refusal import RefusedError
from meshgen.types import new_id

TIMEOUT_HEADER = "x-request-timeout-seconds"

_Headers: TypeAlias = dict[bytes, bytes]
_MAX_REQUEST_ID = 128
_NOT_PRINTABLE = re.compile(rb"[^\x20-\x7e]")
# They belong to one connection, not to the answer: the server in front writes its own.
_NOT_FORWARDED = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization proxy-connection te trailer "
    b"transfer-encoding upgrade date server x-request-id".split()
)
_TEXT = b"text/plain; charset=utf-8"
_WITHOUT_BODY = frozenset({204, 304})


class Exchange:
    """Reads one request and sends one answer; `started` and `complete` say how much of it."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, max_body: int = EdgeLimits().request_bytes
    ) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.raw_path: bytes = scope.get("raw_path") or quote(self.path).encode()
        # Of the head that was sent, or 499 if the client did not wait for one.
        self.status = 0
        self.started = False
        self.complete = False
        self.client_gone = False
        self.timed_out = False
        self._max_body = max_body
        self._scope = scope
        self._receive = receive
        self._send = send
        self._headers: _Headers = dict(scope["headers"])
        self._left: int | None = None
        self.request_id = _clean_id(self._headers.get(b"x-request-id", b"")) or new_id()

    def header(self, name: str) -> str:
        """A request header's value, empty if the client did not send it."""
        return self._headers.get(name.encode(), b"").decode("latin-1")

    def drop_header(self, name: str) -> None:
        """Let nobody see a request header from here on."""
        key = name.encode()
        self._headers.pop(key, None)
        self._scope["headers"] = [each for each in self._scope["headers"] if each[0] != key]

    @property
    def timeout(self) -> float | None:
        """The seconds the client gives this request, or None.

        Raises:
            RefusedError: The header is not a number of seconds.
        """
        text = self.header(TIMEOUT_HEADER)
        if not text:
            return None
        try:
            seconds = float(text)
        except ValueError:
            seconds = 0.0
        if not (math.isfinite(seconds) and seconds > 0):
            raise RefusedError(400, f"{TIMEOUT_HEADER} must be a positive number of seconds")
        return seconds

    @property
    def target(self) -> str:
        """The path as the client wrote it, for the log: percent-encoded, so on one line."""
        return self.raw_path.decode("latin-1")

    @property
    def client(self) -> str:
        """Who asks, for the log."""
        address = self._scope.get("client")
        return f"{address[0]}:{address[1]}" if address else "-"

    @property
    def host(self) -> str:
        """Where the client reached this gateway, as `host:port`."""
        server = self._scope.get("server") or ("localhost", None)
        return self.header("host") or ":".join(str(part) for part in server if part)

    async def read(self, root_path: str) -> HttpRequest:
        """The whole request.

        Raises:
            RequestCancelledError: The client went away before it had sent everything.
            RefusedError: There are more bytes than may be.
        """
        scope = self._scope
        return HttpRequest(
            method=self.method,
            path=self.path,
            raw_path=self.raw_path,
            root_path=root_path,
            query_string=scope["query_string"],
            headers=tuple((name, value) for name, value in scope["headers"]),
            client=scope.get("client"),
            server=scope.get("server"),
            scheme=scope.get("scheme", "http"),
            http_version=scope.get("http_version", "1.1"),
            body=await self._body(),
        )

    async def _body(self) -> bytes:
        length = self._headers.get(b"content-length", b"")
        self._check_size(int(length) if length.isdigit() else 0)
        chunks, size, more = [], 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.client_gone = True
                raise RequestCancelledError("the client went away before its request was complete")
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            chunks.append(chunk)
            size += len(chunk)
            self._check_size(size)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _check_size(self, size: int) -> None:
        if size > self._max_body:
            raise RefusedError(413, f"a request body must not exceed {self._max_body} bytes")

    async def cancel_when_client_leaves(self, call: ItemBuffer | Reply) -> None:
        """Wait until the client is gone, then stop the call.

        To be cancelled before the answer ends: then a server reports every client as gone.
        """
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.client_gone = True
        call.cancel()

    def expire(self, items: ItemBuffer) -> None:
        """Stop the call because its time is up, unless the client has its answer."""
        if not self.complete:
            self.timed_out = True
            items.cancel()

    async def start(self, head: HttpHead) -> None:
        """Send status and headers."""
        headers = [
            (name, value) for name, value in head.headers if name.lower() not in _NOT_FORWARDED
        ]
        self._left = _content_length(headers)
        await self._send_head(head.status, headers)

    async def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        headers.append((b"x-request-id", self.request_id.encode()))
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    def ends_with(self, chunk: bytes) -> bool:
        """Whether the answer is complete once this chunk is sent."""
        return not chunk or self._left == len(chunk)

    async def write(self, chunk: bytes) -> None:
        """Send a piece of the body; the last one completes the answer. Slow clients hold it up."""
        last = self.ends_with(chunk)
        if self._left is not None:
            self._left -= len(chunk)
        if self.status in _WITHOUT_BODY:
            chunk = b""
        await self._send_body(chunk, more=not last)

    async def _send_body(self, chunk: bytes, *, more: bool) -> None:
        self.complete = not more
        message: Message = {"type": "http.response.body", "body": chunk, "more_body": more}
        await self._send(message)

    async def reply(
        self, status: int, text: str, *, content_type: bytes = _TEXT, headers: HeaderList = ()
    ) -> None:
        """Send a whole answer of the gateway's own."""
        body = text.encode()
        length = b"%d" % len(body)
        own = [(b"content-type", content_type), (b"content-length", length), *headers]
        await self._send_head(status, own)
        await self._send_body(body, more=False)


def _clean_id(given: bytes) -> str:
    """A client's request id without what could forge a header or a line of the log."""
    return _NOT_PRINTABLE.sub(b"", given)[:_MAX_REQUEST_ID].strip().decode()


def _content_length(headers: list[tuple[bytes, bytes]]) -> int | None:
    for name, value in headers:
        if name.lower() == b"content-length" and value.isdigit():
            return int(value)
    return None
