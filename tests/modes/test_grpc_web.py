"""gRPC-Web at the HTTP port, spoken by a plain HTTP client."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import pytest_asyncio

from meshgen.testing import Mode, run_http
from tests.apps import typedshop
from tests.runtime.test_typedserver import TYPED

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "default.shop.v1.ShopService"
KINDS = pytest.mark.parametrize("kind", ["application/grpc-web+proto", "application/grpc-web-text"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(mode: Mode) -> AsyncIterator[httpx.AsyncClient]:
    """Asks the gateway of tests/apps/typedshop.py."""
    async with run_http(typedshop.chained, mode=mode) as address:
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client:
            yield client


def frame(message: bytes) -> bytes:
    """A request's body."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def frames(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Flags and contents of a response's body."""
    while body:
        end = 5 + int.from_bytes(body[1:5], "big")
        yield body[0], body[5:end]
        body = body[end:]


def plain(text: bytes) -> bytes:
    """The frames of a text, each encoded by itself."""
    parts = text.replace(b"=", b" ").split()
    return b"".join(base64.b64decode(part + b"=" * (-len(part) % 4)) for part in parts)


async def send(
    web: httpx.AsyncClient, kind: str, rpc: str, body: bytes, **headers: str
) -> tuple[list[bytes], dict[str, str]]:
    """The messages and the trailers of an answer."""
    content = base64.b64encode(body) if "text" in kind else body
    sent = {"content-type": kind, **{key.replace("_", "-"): v for key, v in headers.items()}}
    answer = await web.post(f"/{SERVICE}/{rpc}", content=content, headers=sent)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind.partition('+')[0]}+proto"
    data = plain(answer.content) if "text" in kind else answer.content
    *messages, (flag, last) = frames(data)
    assert flag == 0x80 and not any(flag for flag, _ in messages)
    trailers = dict(line.split(": ", 1) for line in last.decode().splitlines())
    return [message for _, message in messages], trailers


def request(method: str, *args: Any) -> bytes:
    """A body that calls a method."""
    return frame(TYPED[method].request(args).SerializeToString())


def result(method: str, message: bytes) -> Any:
    """What a message says."""
    return TYPED[method].result(TYPED[method].response_class.FromString(message))


@KINDS
async def test_unary_calls_and_streams(web: httpx.AsyncClient, kind: str) -> None:
    """Messages, then the trailers in a frame of their own."""
    [message], trailers = await send(web, kind, "Plain", request("plain", 1))
    assert (result("plain", message), trailers) == (2, {"grpc-status": "0"})
    messages, trailers = await send(web, kind, "Count", request("count", 300))
    assert [result("count", each) for each in messages] == list(range(300))
    assert trailers == {"grpc-status": "0"}


@KINDS
async def test_errors_are_in_the_trailers(web: httpx.AsyncClient, kind: str) -> None:
    """After the items before them; with details."""
    _, trailers = await send(web, kind, "Sell", request("sell", "té"))
    assert trailers["grpc-status"] == "5"
    assert unquote(trailers["grpc-message"]) == "no té left"
    assert base64.b64decode(trailers["grpc-status-details-bin"])
    messages, trailers = await send(web, kind, "FailLater", request("fail_later"))
    assert len(messages) == 1 and trailers["grpc-status"] == "5"
    _, trailers = await send(web, kind, "Nothing", frame(b""))
    assert trailers["grpc-status"] == "12"
    _, trailers = await send(web, kind, "Wait", request("wait"), grpc_timeout="50m")
    assert trailers["grpc-status"] == "4"


@pytest.mark.parametrize(
    "body", [b"", b"\0", b"\1\0\0\0\0", b"\0\0\0\0\5x", frame(b"") + frame(b""), frame(b"\xff")]
)
async def test_what_is_not_one_message_is_refused(web: httpx.AsyncClient, body: bytes) -> None:
    """Compressed ones too."""
    _, trailers = await send(web, "application/grpc-web", "Plain", body)
    assert trailers["grpc-status"] == "3"


async def test_text_that_is_no_base64_is_refused(web: httpx.AsyncClient) -> None:
    """As a request that does not fit."""
    headers = {"content-type": "application/grpc-web-text"}
    answer = await web.post(f"/{SERVICE}/Plain", content=b"%%%", headers=headers)
    assert b"grpc-status: 3" in plain(answer.content)
