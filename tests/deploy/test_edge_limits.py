"""Clients of gRPC that are slow, or want too much: each beside one that is served as ever."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from tests.deploy.edges import SERVICE, Edge, double, running
from tests.reflected import Reflected


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    """A mesh with small limits; its times are longer than what others make a client wait."""
    with running(
        tmp_path_factory.mktemp("app"),
        request_bytes=10_000,
        header_bytes=2_000,
        head_seconds=2,
        body_seconds=2,
        idle_seconds=4,
        reader_seconds=2,
        connections=20,
    ) as edge:
        yield edge


async def _code(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_a_message_that_does_not_come_is_not_waited_for(narrow: Edge) -> None:
    """A client of the same connection is served meanwhile."""

    async def silent() -> Any:
        await asyncio.get_running_loop().create_future()
        yield b""

    async with asyncio.timeout(60), grpc.aio.insecure_channel(narrow.grpc) as channel:
        late = channel.stream_unary(f"/{SERVICE}/Double")(silent())
        assert await double(channel) == b"\x08\x08"
        assert await _code(late) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await double(channel) == b"\x08\x08"


async def test_a_stream_that_is_not_read_ends_and_so_does_its_call(narrow: Edge) -> None:
    """The code's `finally` runs while the client still holds the stream."""
    async with asyncio.timeout(60), grpc.aio.insecure_channel(narrow.grpc) as channel:
        flood = channel.unary_stream(f"/{SERVICE}/Flood")(b"")
        await flood.read()
        await asyncio.to_thread(narrow.program.until, "the flood is over")
        assert await double(channel) == b"\x08\x08"

        async def rest() -> None:
            while await flood.read() is not grpc.aio.EOF:
                pass

        assert await _code(rest()) is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_messages_and_metadata_have_a_size(narrow: Edge) -> None:
    """What is larger is refused, and the connection goes on."""
    async with asyncio.timeout(60), grpc.aio.insecure_channel(narrow.grpc) as channel:
        call = channel.unary_unary(f"/{SERVICE}/Double")
        large = (("x-large", "x" * 3_000),)
        assert await _code(call(b"x" * 20_000)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await _code(call(b"", metadata=large)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await double(channel) == b"\x08\x08"


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_HEADERS = b"\x83\x86\x04\x06/x.Y/B\x01\x09localhost\x0f\x10\x10application/grpc"
# A header that is begun, and one more that does not end it.
_BEGUN = len(_HEADERS).to_bytes(3, "big") + b"\x01\x00\0\0\0\1" + _HEADERS
_MORE = b"\0\0\5\x09\0\0\0\0\1\x00\x01a\x01b"


@pytest.mark.parametrize(
    ("first", "more"), [(b"", b""), (b"PRI * HT", b""), (_PREFACE, b""), (_PREFACE + _BEGUN, _MORE)]
)
def test_a_connection_that_comes_to_nothing_is_closed(
    narrow: Edge, first: bytes, more: bytes
) -> None:
    """Silent, in the middle of its first words, idle, or with headers without end."""
    with socket.create_connection(("127.0.0.1", narrow.port)) as client:
        client.settimeout(0.05)
        client.sendall(first)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if client.recv(1000) == b"":
                    break
                client.sendall(more)
            except TimeoutError:
                with suppress(OSError):
                    client.sendall(more)
            except OSError:
                break
        else:
            raise AssertionError("it is still open")


async def test_connections_that_are_too_many_are_refused(narrow: Edge) -> None:
    """And when those have gone, others are served."""
    clients = [_greeting(narrow) for _ in range(30)]
    firsts = [await asyncio.to_thread(_first_byte, client) for client in clients]
    assert b"" in firsts and firsts.count(b"\0") <= 20
    for client in clients:
        client.close()
    async with asyncio.timeout(60), grpc.aio.insecure_channel(narrow.grpc) as channel:
        await channel.channel_ready()
        assert await double(channel) == b"\x08\x08"


def _greeting(narrow: Edge) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", narrow.port))
    client.settimeout(5)
    with suppress(OSError):
        client.sendall(_PREFACE)
    return client


def _first_byte(client: socket.socket) -> bytes:
    try:
        return client.recv(1)
    except OSError:
        return b""


async def test_reflection_needs_no_token_on_loopback(narrow: Edge) -> None:
    """By default this machine is trusted."""
    async with grpc.aio.insecure_channel(narrow.grpc) as channel:
        client = Reflected(narrow.grpc, channel, SERVICE)
        await client.learn(SERVICE)
        assert await client.value("Double", {"x": 4}) == 8
