"""gRPC-Web, which browsers speak: typed RPCs in HTTP/1.1, binary or as base64 text.

Bodies are frames, in both directions:

    1 byte    0 for a message, 0x80 for the trailers
    4 bytes   how long the rest is
    ...       the message, or the trailers as lines: "grpc-status: 0\\r\\n"
"""

from __future__ import annotations

import base64
import binascii
from contextlib import aclosing
from urllib.parse import quote

from google.rpc.status_pb2 import Status

from meshgen.errors import InvalidValueError
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.clientstatus import make_status, trailers
from meshgen.runtime.edge import told
from meshgen.runtime.edgetable import CurrentTable
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.httpcall import HttpCall, http_call
from meshgen.runtime.httpmessage import HttpHead

_BINARY = "application/grpc-web"
_TEXT = "application/grpc-web-text"
_TRAILERS = 0x80
_HEAD = 5
# Of the units of `grpc-timeout`, in seconds.
_UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


def is_grpc_web(exchange: Exchange) -> bool:
    """Whether a request is one of gRPC-Web."""
    return exchange.method == "POST" and exchange.header("content-type").startswith(_BINARY)


async def refuse(exchange: Exchange, status: str, sentence: str) -> None:
    """Answer a request of gRPC-Web with a status of this name."""
    await _Answer(exchange).end(make_status(status, sentence, exchange.request_id))


class GrpcWeb:
    """Answers requests of gRPC-Web."""

    def __init__(self, table: CurrentTable, caller: MeshCaller) -> None:
        self._table = table
        self._caller = caller

    async def answer(self, exchange: Exchange) -> None:
        """Make the call and send its outcome."""
        answer = _Answer(exchange)
        rpc = self._table().by_path.get(exchange.path)
        body = (await exchange.read("")).body
        if rpc is None:
            sentence = "no such RPC is served here"
            await answer.end(make_status("UNIMPLEMENTED", sentence, exchange.request_id))
            return
        timeout = _seconds(exchange.header("grpc-timeout"))
        call = http_call(exchange, self._caller, rpc, timeout)
        try:
            await _relay(call, _message(body, is_text=answer.is_text), answer)
        except Exception as exc:
            if exchange.client_gone:
                raise
            await answer.end(told(exc, rpc, call.request))
        else:
            await answer.end(Status())


async def _relay(call: HttpCall, message: bytes, answer: _Answer) -> None:
    if not call.rpc.streams:
        await answer.send(await call.response(message))
        return
    async with aclosing(call.responses(message)) as items:
        async for item in items:
            await answer.send(item)


class _Answer:
    """Writes frames as the client wants them."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.is_text = exchange.header("content-type").startswith(_TEXT)

    async def send(self, message: bytes) -> None:
        """One message."""
        await self._write(0, message)

    async def end(self, status: Status) -> None:
        """The status, and nothing after it."""
        lines = [f"grpc-status: {status.code}"]
        if status.code:
            lines.append(f"grpc-message: {quote(status.message)}")
            for name, value in trailers(status):
                text = base64.b64encode(value).decode() if isinstance(value, bytes) else value
                lines.append(f"{name}: {text}")
        await self._write(_TRAILERS, "".join(f"{line}\r\n" for line in lines).encode())
        await self._exchange.write(b"")

    async def _write(self, flag: int, content: bytes) -> None:
        if not self._exchange.started:
            kind = _TEXT if self.is_text else _BINARY
            head = ((b"content-type", f"{kind}+proto".encode()),)
            await self._exchange.start(HttpHead(status=200, headers=head))
        frame = bytes((flag,)) + len(content).to_bytes(_HEAD - 1, "big") + content
        await self._exchange.write(base64.b64encode(frame) if self.is_text else frame)


def _message(body: bytes, *, is_text: bool) -> bytes:
    """The one message of a request."""
    if is_text:
        try:
            body = base64.b64decode(body, validate=True)
        except binascii.Error as exc:
            raise InvalidValueError("the body is no base64") from exc
    if len(body) < _HEAD or body[0] != 0 or len(body) != _HEAD + int.from_bytes(body[1:_HEAD]):
        raise InvalidValueError("the body is not one frame with one message, uncompressed")
    return body[_HEAD:]


def _seconds(text: str) -> float | None:
    """A `grpc-timeout` such as `100m`; None where there is none that can be read."""
    number, unit = text[:-1], text[-1:]
    if not (number.isdecimal() and len(number) <= 8 and unit in _UNITS):
        return None
    return int(number) * _UNITS[unit]
