"""Typed RPCs over HTTP: `POST /<Deployment>/<method>` with Protobuf's JSON, streams as events.

A stream's items are Server-Sent Events, `data: {"result": ...}`. One with the name `end` says that
it is complete, one with the name `error` that it broke, and has what a response of an error has:
`{"code": 5, "message": "...", "details": [...]}`, a google.rpc.Status.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.rpc.status_pb2 import Status

from meshgen.errors import InvalidValueError
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.clientstatus import http_status
from meshgen.runtime.edge import told
from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgetable import ExposedRpc
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.httpcall import http_call
from meshgen.runtime.httpmessage import HttpHead
from meshgen.runtime.openapi import openapi_document

_JSON = b"application/json"
_EVENTS = HttpHead(
    status=200,
    headers=((b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")),
)
_PAGE = Path(__file__).with_name("docs.html")


class JsonCalls:
    """Answers HTTP requests that are calls of typed RPCs, and says which there are."""

    def __init__(self, descriptors: Descriptors, caller: MeshCaller) -> None:
        self._table = descriptors.table
        self._descriptors = descriptors
        self._caller = caller

    def find(self, exchange: Exchange) -> ExposedRpc | None:
        """The RPC that a request calls, if it does."""
        if exchange.method != "POST":
            return None
        return self._table().by_http_path.get(exchange.path)

    async def describe(self, exchange: Exchange) -> None:
        """Answer with the OpenAPI document."""
        document = openapi_document(self._table(), self._descriptors)
        await exchange.reply(200, document, content_type=_JSON)

    async def show(self, exchange: Exchange) -> None:
        """Answer with the page to try calls on."""
        page = _PAGE.read_text(encoding="utf-8")
        await exchange.reply(200, page, content_type=b"text/html; charset=utf-8")

    async def answer(self, exchange: Exchange, rpc: ExposedRpc) -> None:
        """Make the call and send its outcome."""
        call = http_call(exchange, self._caller, rpc, exchange.timeout)
        body = (await exchange.read("")).body
        request_class, response_class = self._descriptors.classes(rpc)
        try:
            message = _parse(request_class, body)
            if rpc.streams:
                await _send_events(exchange, call.responses(message), response_class)
            else:
                text = _json(response_class.FromString(await call.response(message)))
                await exchange.reply(200, text, content_type=_JSON)
        except Exception as exc:
            if exchange.client_gone:
                raise
            await _fail(exchange, told(exc, rpc, call.request))


async def _send_events(exchange: Exchange, items: AsyncGenerator[bytes, None], cls: Any) -> None:
    async with aclosing(items):
        async for item in items:
            if not exchange.started:  # not before: until then an error has a status
                await exchange.start(_EVENTS)
            await exchange.write(_event(_json(cls.FromString(item))))
    if not exchange.started:
        await exchange.start(_EVENTS)
    await exchange.write(_event("{}", "end"))
    await exchange.write(b"")


async def _fail(exchange: Exchange, status: Status) -> None:
    text = json_format.MessageToJson(status, indent=None, ensure_ascii=False)
    if exchange.started:
        await exchange.write(_event(text, "error"))
        await exchange.write(b"")
    else:
        await exchange.reply(http_status(status), text, content_type=_JSON)


def _parse(cls: Any, body: bytes) -> bytes:
    message = cls()
    try:
        given = json.loads(body or b"{}")
        if not isinstance(given, dict):  # a list would be taken for a message of defaults
            raise ValueError("it is no JSON object")
        json_format.ParseDict(given, message)
    except (json_format.ParseError, ValueError, TypeError, RecursionError, SystemError) as exc:
        # The last one is Protobuf's, of half a character where it expects a name.
        cause = exc.__cause__ if isinstance(exc, SystemError) else exc
        reason = " ".join(str(cause).split())
        raise InvalidValueError(f"the body is no {cls.DESCRIPTOR.full_name}: {reason}") from exc
    data: bytes = message.SerializeToString()
    return data


def _json(message: Any) -> str:
    # Under the names that the user's parameters have; both those and camelCase are read.
    return json_format.MessageToJson(
        message,
        indent=None,
        ensure_ascii=False,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )


def _event(data: str, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode()
