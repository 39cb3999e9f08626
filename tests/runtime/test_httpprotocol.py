"""Clients of HTTP that are slow, or want too much: on real sockets, beside one that is served."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import StreamingResponse

from meshgen.edgelimits import EdgeLimits
from meshgen.listener import bind
from meshgen.runtime.httpserver import make_server
from meshgen.runtime.protection import Protection
from meshgen.runtime.webgateway import make_app
from tests.runtime.steadyloop import on_a_steady_loop
from tests.runtime.webmesh import InMemoryMesh

_GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Served:
    """A server, and a client that is served all the time."""

    port: int
    mesh: InMemoryMesh
    # Those that the server knows.
    connections: set[Any]
    answers: list[int] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, receive_bytes: int = 0) -> tuple[asyncio.StreamReader, Any]:
        """A connection; one that receives little before somebody reads, if that is asked for."""
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        limit = receive_bytes or 1 << 16
        reader, writer = await asyncio.open_connection(sock=client, limit=limit)
        self.writers.append(writer)
        return reader, writer

    def close(self) -> None:
        """Leave."""
        for writer in self.writers:
            writer.transport.abort()

    async def until_answered(self, times: int = 2) -> None:
        """Wait until the other client has had as many answers more."""
        seen = len(self.answers)
        while len(self.answers) < seen + times:  # noqa: ASYNC110 # one comes each millisecond
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    code: Any = lambda _: "hello", *, send_bytes: int = 0, **limits: Any
) -> AsyncIterator[Served]:
    """For the length of a block, which may take ten seconds; with so much that the kernel sends."""
    mesh = InMemoryMesh({"/": code, "/well": lambda _: "well"})
    protection = Protection(limits=EdgeLimits(**limits))
    server = make_server(make_app(lambda: mesh.mesh, mesh, None, protection), protection)
    with bind("127.0.0.1", 0) as listener:
        if send_bytes:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
        served = Served(listener.getsockname()[1], mesh, server.server_state.connections)
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        other = asyncio.ensure_future(_ask_again_and_again(served))
        try:
            async with asyncio.timeout(10):
                await served.until_answered()
                yield served
                await served.until_answered()
        finally:
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
            served.close()
            server.should_exit = server.force_exit = True
            await task
    assert set(served.answers) == {200}


async def _ask_again_and_again(served: Served) -> None:
    async with httpx.AsyncClient(trust_env=False) as web:
        while True:
            answer = await web.get(f"http://127.0.0.1:{served.port}/well", timeout=5)
            served.answers.append(answer.status_code)
            await asyncio.sleep(0.001)


async def _dribble(writer: Any) -> None:
    """A byte now and then, until nobody takes it any more."""
    with suppress(OSError):
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)


async def _is_over(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(100) == b""
    except OSError:
        return True


@on_a_steady_loop
async def test_who_dribbles_headers_is_told_and_sent_away() -> None:
    """However regularly its bytes come."""
    async with serving(head_seconds=0.2) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nlong: ")
        dribbling = asyncio.ensure_future(_dribble(writer))
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        await dribbling


@on_a_steady_loop
async def test_who_dribbles_the_headers_of_a_second_request_is_sent_away_too() -> None:
    """The first one's answer is no excuse."""
    async with serving(head_seconds=0.2) as served:
        reader, writer = await served.connect()
        writer.write(_GET)
        await reader.readuntil(b"hello")
        writer.write(b"GET ")
        dribbling = asyncio.ensure_future(_dribble(writer))
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        await dribbling


@on_a_steady_loop
async def test_who_says_nothing_is_sent_away_without_a_word() -> None:
    """Browsers connect ahead; they do not take a word for an answer to a request."""
    async with serving(head_seconds=0.05) as served:
        reader, _ = await served.connect()
        assert await reader.read() == b""


@on_a_steady_loop
async def test_who_dribbles_a_body_is_told_and_sent_away() -> None:
    """The call is never made."""
    async with serving(body_seconds=0.2) as served:
        before = len(served.mesh.contexts)
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n")
        dribbling = asyncio.ensure_future(_dribble(writer))
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        await dribbling
        assert {each.route for each in served.mesh.contexts[before:]} <= {"/well"}


@on_a_steady_loop
async def test_a_body_that_comes_along_may_take_its_time() -> None:
    """The time is for each 64 KB, not for all."""

    async def count(request: Request) -> int:
        return len(await request.body())

    async with serving(count, body_seconds=0.3) as served:
        reader, writer = await served.connect()
        began = asyncio.get_running_loop().time()
        size = 10 * (80 << 10)
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % size)
        for _ in range(10):
            writer.write(b"x" * (80 << 10))
            await asyncio.sleep(0.06)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert asyncio.get_running_loop().time() - began > 0.5


@on_a_steady_loop
async def test_who_does_not_read_is_cut_off_and_its_call_is_cancelled() -> None:
    """The code's `finally` runs, while the client still holds its end open."""
    ended = asyncio.Event()

    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.set()

    async with serving(lambda _: StreamingResponse(flood()), reader_seconds=0.3) as served:
        _, writer = await served.connect(receive_bytes=4096)
        writer.write(_GET)
        await ended.wait()


@pytest.mark.parametrize("words", ["", "connection: close\r\n"])
@on_a_steady_loop
async def test_who_does_not_read_the_end_of_an_answer_is_cut_off(words: str) -> None:
    """Too little is left to slow the server down, and the connection is over for it."""
    limits = {"idle_seconds": 0.1, "reader_seconds": 0.3}
    async with serving(lambda _: b"x" * 50_000, send_bytes=4096, **limits) as served:
        reader, writer = await served.connect(receive_bytes=4096)
        writer.write(f"GET / HTTP/1.1\r\nhost: x\r\n{words}\r\n".encode())
        await reader.readline()
        reader._transport.pause_reading()  # type: ignore[attr-defined]  # or asyncio reads ahead
        while len(served.connections) > 1:  # noqa: ASYNC110 # nobody else is told
            await asyncio.sleep(0.01)


@on_a_steady_loop
async def test_who_reads_slowly_but_reads_gets_it_all() -> None:
    """The time is for each 64 KB of what waits."""
    size = 2 << 20
    code = serving(lambda _: b"x" * size, send_bytes=1 << 15, reader_seconds=0.2)
    async with code as served:
        reader, writer = await served.connect(receive_bytes=1 << 15)
        writer.write(_GET)
        await reader.readuntil(b"\r\n\r\n")
        got, began = 0, asyncio.get_running_loop().time()
        while got < size:
            got += len(await reader.read(1 << 15))
            await asyncio.sleep(0.01)
        assert asyncio.get_running_loop().time() - began > 0.6


@on_a_steady_loop
async def test_an_idle_connection_is_closed() -> None:
    """After its last answer."""
    async with serving(idle_seconds=0.1) as served:
        reader, writer = await served.connect()
        writer.write(_GET)
        await reader.readuntil(b"hello")
        assert await reader.read() == b""


@on_a_steady_loop
async def test_headers_have_a_size() -> None:
    """Also where they come all at once."""
    async with serving(header_bytes=2000) as served:
        reader, writer = await served.connect()
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nlong: " + b"x" * 50_000 + b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 400")


@on_a_steady_loop
async def test_a_body_has_a_size() -> None:
    """Said or not; nothing is read of one that is said to be larger."""
    async with serving(request_bytes=1000) as served:
        async with httpx.AsyncClient(trust_env=False) as web:
            url = f"http://127.0.0.1:{served.port}/"
            assert (await web.post(url, content=b"x" * 1000)).status_code == 200
            assert (await web.post(url, content=b"x" * 1001)).status_code == 413

            async def chunks() -> AsyncIterator[bytes]:
                yield b"x" * 600
                yield b"x" * 600

            assert (await web.post(url, content=chunks())).status_code == 413


@on_a_steady_loop
async def test_who_goes_on_sending_after_the_answer_is_cut_off() -> None:
    """A body that was refused need not be listened to."""
    async with serving(request_bytes=1000) as served:
        reader, writer = await served.connect()
        writer.write(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
        with pytest.raises(OSError):
            for _ in range(500):  # fifty megabytes, of which most would wait in the kernel
                writer.write(b"x" * 100_000)
                await writer.drain()


@on_a_steady_loop
async def test_the_connection_that_is_quiet_for_longest_makes_room() -> None:
    """So that many who say nothing keep nobody out."""
    async with serving(connections=4) as served:
        silent = [await served.connect() for _ in range(3)]
        await served.until_answered()
        await served.connect()
        assert await _is_over(silent[0][0])
        reader, writer = await served.connect()
        writer.write(_GET)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")


@on_a_steady_loop
async def test_where_all_have_requests_a_new_connection_is_refused() -> None:
    """With a word on when to come again; those that run go on."""
    release, running = asyncio.Event(), asyncio.Semaphore(0)

    async def wait(_: Request) -> str:
        running.release()
        await release.wait()
        return "done"

    mesh = InMemoryMesh({"/": wait})
    protection = Protection(limits=EdgeLimits(connections=2))
    server = make_server(make_app(lambda: mesh.mesh, mesh, None, protection), protection)
    with bind("127.0.0.1", 0) as listener:
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        served = Served(listener.getsockname()[1], mesh, server.server_state.connections)
        async with asyncio.timeout(10):
            waiting = [await served.connect() for _ in range(2)]
            for _, writer in waiting:
                writer.write(_GET)
                await running.acquire()
            refused, _ = await served.connect()
            assert (await refused.readline()).startswith(b"HTTP/1.1 503")
            release.set()
            for reader, _ in waiting:
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            served.close()
            server.should_exit = server.force_exit = True
            await task
