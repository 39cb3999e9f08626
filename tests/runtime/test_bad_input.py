"""Peers that break the protocol of a link: theirs ends with a logged reason, all others go on."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio
import pytest

from meshgen.runtime.carrier import MOST_UNREAD_BYTES, LinkCarrier
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hanging import call
from tests.runtime.hosts import cancel, hello, of_value, request
from tests.runtime.replicas import lone_replica, over_tcp, short_folder, spec_of, until

SERVICE = "meshgen.v1.MeshService"


class Worker:
    """Adds, or waits."""

    async def add(self, x: int) -> int:
        """One more."""
        return x + 1

    async def data(self, size: int) -> bytes:
        """So many."""
        return bytes(size)

    async def wait(self) -> None:
        """For ever."""
        await asyncio.Event().wait()


@dataclass(frozen=True, kw_only=True)
class Served:
    """A replica, a raw channel to it, and the link of somebody who does nothing wrong."""

    replica: Replica
    address: str
    channel: grpc.aio.Channel
    good: GrpcPeer

    def link(self) -> Any:
        """A link of bytes."""
        return self.channel.stream_stream(f"/{SERVICE}/Link")()

    def upload(self, *messages: bytes) -> Any:
        """An upload of bytes."""
        return self.channel.stream_unary(f"/{SERVICE}/Upload")(iter(messages))


@asynccontextmanager
async def served() -> AsyncIterator[Served]:
    """In the end the one that did nothing wrong is served as ever, and nothing is left over."""
    async with lone_replica(Worker) as replica, serving(replica, "127.0.0.1:0", None) as address:
        stub = spec_of(Worker).stub
        good = GrpcPeer(address, lambda _: None, stub=stub, caller="good", certificates=None)
        good.start()
        await until(lambda: good.serving)
        async with grpc.aio.insecure_channel(address) as channel:
            yield Served(replica=replica, address=address, channel=channel, good=good)
            await until(lambda: replica.occupancy.ongoing == 0)
            assert await call(good, "add", 1).value() == 2
            assert len(replica.uploads) == len(replica.results) == len(replica.values) == 0
            assert replica.occupancy.wanted == 0
        await good.close()


def _bytes(*frames: pb.Frame) -> bytes:
    return pb.LinkRequest(frames=frames).SerializeToString()


async def _end(link: Any) -> grpc.aio.AioRpcError:
    """Read on until the link ends."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        while await link.read() is not grpc.aio.EOF:
            pass
        raise AssertionError(f"the link ended as if all were well: {await link.details()}")
    return caught.value


_RETAIN = pb.FRAME_KIND_RETAIN
_WHOLE = _bytes(hello(), request(1, "add", 1))


@pytest.mark.parametrize(
    ("messages", "who", "reason"),
    [
        ([b"\xff\xff\xff\xff"], "somebody at", "is no message of the mesh"),
        ([_bytes(hello()), _WHOLE[:-3]], "test", "is no message of the mesh"),
        ([_bytes(request(1, "add", 1))], "somebody at", "before it said which deployment"),
        ([_bytes(hello()), _bytes(hello())], "test", "sent a frame of kind HELLO"),
        ([_bytes(hello(), request(1, "wait"), request(1, "add"))], "test", "id 1 after 1"),
        ([_bytes(hello(), request(0, "add"))], "test", "id 0 after 0"),
        ([_bytes(hello(), cancel(7))], "test", "for call 7, which it never made"),
        ([_bytes(hello(), of_value(_RETAIN, "v", 7))], "test", "for call 7, which it never made"),
        ([_bytes(hello(), request(1, "wait")), b"\xff"], "test", "is no message of the mesh"),
    ],
)
async def test_a_caller_that_breaks_the_protocol_is_sent_away(
    messages: list[bytes], who: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told why, one line is logged, and what it had begun is cancelled."""
    async with served() as at:
        link = at.link()
        for message in messages:
            await link.write(message)
        error = await _end(link)
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason in str(error.details())
        (line,) = [record.message for record in caplog.records if record.name == "meshgen"]
        assert line.startswith(f"default/Worker#0 ended the link of {who}") and reason in line


def _strange_call(**fields: Any) -> pb.Frame:
    frame = request(1, "add", 1)
    for name, value in fields.items():
        target = frame.invocation.arguments if name != "method" else frame.invocation
        setattr(target, name, value)
    return frame


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (_strange_call(method="nothing"), "nothing"),
        (_strange_call(method="__init__"), "__init__"),
        (_strange_call(pickle=b"no pickle"), "unpickl"),
        (_strange_call(pickle=b""), ""),
        (_strange_call(pickle=pickle.dumps(5)), ""),
        (_strange_call(payload_id="never"), "no payload never is kept here"),
        (of_value(pb.FRAME_KIND_FETCH, "v", 1), "is not there"),
        (of_value(pb.FRAME_KIND_HOLD, "v", 1), "is not there"),
    ],
)
async def test_a_call_that_cannot_be_made_has_an_error(frame: pb.Frame, reason: str) -> None:
    """It alone: the link goes on."""
    async with served() as at:
        link = at.link()
        await link.write(_bytes(hello(), frame))
        await link.write(_bytes(of_value(pb.FRAME_KIND_RELEASE, "v"), request(2, "add", 1)))
        found: dict[int, pb.Frame] = {}
        while len(found) < 2:
            read = pb.LinkResponse.FromString(await link.read())
            found |= {f.id: f for f in read.frames if f.kind != pb.FRAME_KIND_STATE}
        assert found[1].kind == pb.FRAME_KIND_ERROR and found[2].kind == pb.FRAME_KIND_RESPONSE
        assert reason in found[1].failure.message
        link.cancel()


def _upload(*sizes: int, payload_id: str = "id", chunk: bytes = b"") -> bytes:
    message = pb.UploadRequest(payload_id=payload_id, sizes=sizes, chunk=chunk)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "without its id"),
        ([_upload(3, payload_id="")], "without its id"),
        ([_upload()], "without its sizes"),
        ([_upload(2**60)], f"a payload of {2**60} bytes has no room here"),
        ([_upload(2**63, 2**63, 2**63)], "has no room here"),
        ([_upload(3)], "ended before its sizes said"),
        ([_upload(3), _upload(chunk=b"four")], "longer than its sizes said"),
        ([_upload(3), b"\xff\xff"], "is no message of the mesh"),
    ],
)
async def test_an_upload_that_makes_no_sense_is_refused(
    messages: list[bytes], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And takes no memory."""
    async with served() as at:
        with pytest.raises(grpc.aio.AioRpcError, match=reason) as caught:
            await at.upload(*messages)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        (line,) = [record.message for record in caplog.records if record.name == "meshgen"]
        assert line.startswith("default/Worker#0 ended an upload of ") and reason in line


async def test_an_announced_size_takes_no_memory_before_it_comes() -> None:
    """Whoever announces a gigabyte has sent nothing yet."""
    async with served() as at:
        with pytest.raises(grpc.aio.AioRpcError, match="ended before its sizes said"):
            await at.upload(_upload(2**30), _upload(chunk=b"x"))


async def _is_cut_off(reader: asyncio.StreamReader) -> None:
    """However: who left some of it unread says so by a reset."""
    with suppress(ConnectionResetError):
        await reader.read()


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: mesh\r\n\r\n",
        b"\x00\xff" * 500,
        bytes.fromhex("16030100c8010000c40303") + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    ],
    ids=["http1", "garbage", "tls", "broken-http2"],
)
async def test_who_speaks_another_protocol_is_cut_off(said: bytes) -> None:
    """By gRPC itself, at once."""
    async with served() as at:
        host, _, port = at.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(said)
        async with asyncio.timeout(5):
            await _is_cut_off(reader)
        writer.close()


@pytest.mark.slow
async def test_who_connects_and_says_nothing_is_cut_off() -> None:
    """A half-open connection ends like any that does not answer a ping."""
    async with served() as at:
        host, _, port = at.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(10):
            await _is_cut_off(reader)
        writer.close()


class _Wire:
    """A call's context whose writes never end: nobody reads."""

    def __init__(self, *messages: pb.LinkRequest) -> None:
        self._messages = list(messages)
        self.reads = 0
        self.aborted = ""

    def peer(self) -> str:
        """Who calls."""
        return "nowhere"

    async def read(self) -> pb.LinkRequest:
        """The next message; the last one for ever."""
        self.reads += 1
        return self._messages.pop(0) if len(self._messages) > 1 else self._messages[0]

    async def write(self, message: pb.LinkResponse) -> None:
        """Until somebody reads."""
        await asyncio.Event().wait()

    async def abort(self, code: grpc.StatusCode, details: str) -> None:
        """The end."""
        self.aborted = details


async def test_a_caller_that_never_reads_is_sent_away(caplog: pytest.LogCaptureFixture) -> None:
    """Its requests are read no more once much waits for it, and then its time is over."""
    pings = pb.LinkRequest(frames=[pb.Frame(kind=pb.FRAME_KIND_PING, id=1)] * 10_000)
    async with lone_replica(Worker) as replica:
        wire = _Wire(pb.LinkRequest(frames=[hello()]), pings)
        async with asyncio.timeout(30):
            await LinkCarrier(replica, wire, unread_seconds=0.05).run()
    assert "test has read nothing for 0.05 s, while" in wire.aborted
    assert wire.reads < 3 + 2 * MOST_UNREAD_BYTES // (32 * 10_000)
    assert "ended the link of test: test has read nothing" in caplog.text


async def test_a_caller_that_reads_slowly_is_waited_for() -> None:
    """It gets all of its answers."""
    async with lone_replica(Worker, max_ongoing_requests=50) as replica, over_tcp(replica) as mesh:
        async with grpc.aio.insecure_channel(mesh.addresses[0]) as channel:
            link = channel.stream_stream(f"/{SERVICE}/Link")()
            count = 3 * MOST_UNREAD_BYTES // 60_000
            await link.write(_bytes(hello()))
            for first in range(1, count + 1, 50):
                calls = [request(n, "data", 60_000) for n in range(first, first + 50)]
                await link.write(_bytes(*calls))
                await until(lambda: replica.occupancy.ongoing == 0)
            got: set[int] = set()
            while len(got) < count:
                read = pb.LinkResponse.FromString(await link.read())
                got |= {f.id for f in read.frames if f.kind == pb.FRAME_KIND_RESPONSE}
            link.cancel()


@asynccontextmanager
async def _false_replica(link: Callable[[Any], Awaitable[None]]) -> AsyncIterator[str]:
    """A server whose links go as the test says."""

    async def answer(_: Any, context: Any) -> None:
        await context.read()
        await link(context)

    server = grpc.aio.server()
    handlers = {"Link": grpc.stream_stream_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    with short_folder() as folder:
        server.add_insecure_port(f"unix:{folder}/0.sock")
        await server.start()
        yield f"unix:{folder}/0.sock"
        await server.stop(None)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\xff\xff\xff", "is no message of the mesh"),
        (pb.LinkResponse(frames=[request(1, "add")]).SerializeToString(), "of kind REQUEST"),
        (
            pb.LinkResponse(
                frames=[pb.Frame(kind=pb.FRAME_KIND_RESPONSE, id=9)]
            ).SerializeToString(),
            "answered call 9, which is not open",
        ),
        (
            pb.LinkResponse(frames=[pb.Frame(kind=pb.FRAME_KIND_PONG, id=9)]).SerializeToString(),
            "answered ping 9, which is not open",
        ),
    ],
)
async def test_a_replica_that_breaks_the_protocol_is_left(
    said: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a logged reason, which calls without another replica are told as well."""

    async def misbehave(context: Any) -> None:
        await context.write(said)
        await context.read()

    async with _false_replica(misbehave) as address:
        stub = spec_of(Worker).stub
        peer = GrpcPeer(address, lambda _: None, stub=stub, caller="test", certificates=None)
        peer.start()
        await until(lambda: peer.closed)
        await peer.close()
    assert reason in peer.failure
    (line,) = [record.message for record in caplog.records if record.name == "meshgen"]
    assert line.startswith("the link to default/Worker at unix:") and reason in line


@pytest.mark.slow
async def test_a_replica_that_answers_nothing_is_left(caplog: pytest.LogCaptureFixture) -> None:
    """Its first word must come in time."""

    async def say_nothing(context: Any) -> None:
        await context.read()

    async with _false_replica(say_nothing) as address:
        stub = spec_of(Worker).stub
        peer = GrpcPeer(address, lambda _: None, stub=stub, caller="test", certificates=None)
        peer.start()
        await until(lambda: peer.closed)
        assert "did not answer within 5 s" in peer.failure
        await peer.close()
