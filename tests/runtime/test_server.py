"""The RPCs of a replica, called by plain grpcio with messages made from protos/ alone."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from meshgen.naming import grpc_service
from meshgen.runtime.frames import PROTOCOL_VERSION
from meshgen.runtime.server import serving
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, short_folder, until

MB = 1 << 20


class _Adder:
    async def add(self, x: Any, y: Any = 1) -> Any:
        return x + y

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def fail(self) -> None:
        raise ValueError("no")

    async def cancel(self) -> None:
        raise asyncio.CancelledError

    async def wait(self) -> None:
        await asyncio.Event().wait()

    async def wait_items(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()


class _Plain:
    """A replica, and an ordinary channel to it."""

    def __init__(self, replica: Any, channel: grpc.aio.Channel, service: str) -> None:
        self.replica = replica
        self._channel = channel
        self._service = service

    def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """`Call`, not awaited."""
        request = pb.CallRequest(invocation=_invocation(method, args, kwargs))
        return self._unary("Call", pb.CallRequest, pb.CallResponse)(request)

    def stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """`CallStream`, not read."""
        request = pb.CallStreamRequest(invocation=_invocation(method, args, kwargs))
        return self.call_stream(request)

    def call_stream(self, request: pb.CallStreamRequest) -> Any:
        """`CallStream` by its request."""
        return self._streaming("CallStream", pb.CallStreamRequest, pb.CallStreamResponse)(request)

    def fetch(self, payload_id: str) -> Any:
        """`Fetch`, not read."""
        fetch = self._streaming("Fetch", pb.FetchRequest, pb.FetchResponse)
        return fetch(pb.FetchRequest(payload_id=payload_id))

    def upload(self, *requests: pb.UploadRequest) -> Any:
        """`Upload`, not awaited."""
        upload = self._channel.stream_unary(
            f"/{self._service}/Upload",
            pb.UploadRequest.SerializeToString,
            pb.UploadResponse.FromString,
        )
        return upload(iter(requests))

    def link(self, *frames: pb.Frame) -> Any:
        """`Link` with one message."""
        link = self._channel.stream_stream(
            f"/{self._service}/Link", pb.LinkRequest.SerializeToString, pb.LinkResponse.FromString
        )
        return link(iter([pb.LinkRequest(frames=frames)]))

    def _unary(self, name: str, request: Any, response: Any) -> Any:
        return self._channel.unary_unary(
            f"/{self._service}/{name}", request.SerializeToString, response.FromString
        )

    def _streaming(self, name: str, request: Any, response: Any) -> Any:
        return self._channel.unary_stream(
            f"/{self._service}/{name}", request.SerializeToString, response.FromString
        )


def _invocation(method: str, args: Any, kwargs: Any) -> pb.Invocation:
    arguments = pb.Payload(pickle=pickle.dumps((args, kwargs)))
    return pb.Invocation(method=method, arguments=arguments)


@asynccontextmanager
async def _plain(service: str = "meshgen.v1.MeshService", **options: Any) -> AsyncIterator[_Plain]:
    async with lone_replica(_Adder, name="SpanishAdder", **options) as replica:
        with short_folder() as folder:
            async with serving(replica, f"unix:{folder}/0.sock", None) as address:
                async with grpc.aio.insecure_channel(address) as channel:
                    yield _Plain(replica, channel, service)


async def _status(call: Any) -> grpc.aio.AioRpcError:
    """How a failed call ended."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as exc:
        return exc
    raise AssertionError("the RPC succeeded")


_SERVICES = pytest.mark.parametrize(
    "service",
    ["meshgen.v1.MeshService", grpc_service("default", "SpanishAdder")],
    ids=["mesh", "generated"],
)


@_SERVICES
async def test_the_generic_call_works_under_both_names(service: str) -> None:
    """The mesh's own service and the deployment's generated one."""
    assert grpc_service("default", "SpanishAdder").endswith(".v1.SpanishAdderService")
    async with _plain(service) as plain:
        response = await plain.call("add", 2, y=5)
        assert pickle.loads(response.outcome.payload.pickle) == 7
        assert plain.replica.occupancy.ongoing == 0


@_SERVICES
async def test_the_generic_stream_works_under_both_names(service: str) -> None:
    """What is ready together is in one message."""
    async with _plain(service) as plain:
        messages = [message async for message in plain.stream("count", 500)]
        items = [pickle.loads(item.pickle) for message in messages for item in message.items]
        assert items == list(range(500)) and len(messages) < 50
        await until(lambda: plain.replica.occupancy.ongoing == 0)


async def test_a_failure_is_an_outcome() -> None:
    """Errors of the callee are not confused with errors of the wire."""
    async with _plain() as plain:
        failure = (await plain.call("fail")).outcome.failure
        assert (failure.kind, failure.type_name) == (pb.FAILURE_KIND_USER, "builtins.ValueError")
        assert failure.origin == "default/SpanishAdder#0"
        (message,) = [message async for message in plain.stream("fail")]
        assert message.failure.type_name == "builtins.ValueError"
        assert plain.replica.occupancy.ongoing == 0


async def test_a_cancellation_by_user_code_is_an_outcome() -> None:
    """The caller is not left waiting."""
    async with _plain() as plain, asyncio.timeout(10):
        response = await plain.call("cancel")
        assert response.outcome.failure.kind == pb.FAILURE_KIND_CANCELLED


async def test_a_large_result_is_fetched_in_chunks() -> None:
    """Once; a second fetch is told so."""
    async with _plain() as plain:
        payload = (await plain.call("add", bytes(5 * MB), b"x")).outcome.payload
        first, *chunks = [message async for message in plain.fetch(payload.payload_id)]
        data = b"".join(message.chunk for message in chunks)
        assert list(first.sizes) == [len(data)]
        assert pickle.loads(data) == bytes(5 * MB) + b"x"
        error = await _status(plain.fetch(payload.payload_id))
        assert error.code() is grpc.StatusCode.NOT_FOUND


async def test_large_arguments_are_uploaded_first() -> None:
    """The call names them."""
    async with _plain() as plain:
        data = pickle.dumps(((bytes(MB),), {"y": b"y"}))
        await plain.upload(
            pb.UploadRequest(payload_id="p", sizes=[len(data)]),
            pb.UploadRequest(chunk=data[:MB]),
            pb.UploadRequest(chunk=data[MB:]),
        )
        invocation = pb.Invocation(method="add", arguments=pb.Payload(payload_id="p"))
        response = await plain._unary("Call", pb.CallRequest, pb.CallResponse)(
            pb.CallRequest(invocation=invocation)
        )
        assert response.outcome.payload.payload_id
        assert len(plain.replica.uploads) == 0


@pytest.mark.parametrize(
    "requests",
    [
        [],
        [pb.UploadRequest(payload_id="p")],
        [pb.UploadRequest(payload_id="p", sizes=[5]), pb.UploadRequest(chunk=b"four")],
        [pb.UploadRequest(payload_id="p", sizes=[3]), pb.UploadRequest(chunk=b"four")],
        [pb.UploadRequest(payload_id="p", sizes=[1 << 62])],
    ],
    ids=["empty", "no-sizes", "short", "long", "huge"],
)
async def test_an_upload_that_is_not_what_it_says_is_refused(
    requests: list[pb.UploadRequest],
) -> None:
    """With a sentence, and nothing is kept."""
    async with _plain() as plain:
        error = await _status(plain.upload(*requests))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "payload" in (error.details() or "")
        assert len(plain.replica.uploads) == 0


async def test_a_full_replica_refuses() -> None:
    """At once, and says when to try again: the call was not started."""
    async with _plain(max_ongoing_requests=1) as plain:
        running = plain.call("wait")
        await until(lambda: plain.replica.occupancy.ongoing == 1)
        for call in (plain.call("add", 1), plain.stream("count", 1)):
            error = await _status(call)
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "as it may at a time (1); this one was not started" in (error.details() or "")
            assert error.trailing_metadata() == (("grpc-retry-pushback-ms", "100"),)
        running.cancel()
        await until(lambda: plain.replica.occupancy.ongoing == 0)


async def test_a_leaving_replica_refuses() -> None:
    """As unavailable, so that clients go elsewhere at once."""
    async with _plain() as plain:
        await plain.replica.drain()
        for call in (plain.call("add", 1), plain.stream("count", 1)):
            error = await _status(call)
            assert error.code() is grpc.StatusCode.UNAVAILABLE
            assert "not started" in (error.details() or "")
            assert not error.trailing_metadata()


async def test_refused_arguments_are_not_kept() -> None:
    """Their caller uploads them where the call goes instead."""
    async with _plain(max_ongoing_requests=1) as plain:
        running = plain.call("wait")
        await until(lambda: plain.replica.occupancy.ongoing == 1)
        await plain.upload(
            pb.UploadRequest(payload_id="p", sizes=[1]), pb.UploadRequest(chunk=b"x")
        )
        hello = pb.Hello(
            protocol=PROTOCOL_VERSION, deployment="default/SpanishAdder", caller="test"
        )
        invocation = pb.Invocation(method="add", arguments=pb.Payload(payload_id="p"))
        link = plain.link(
            pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello),
            pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=1, invocation=invocation),
        )
        kinds = [frame.kind async for message in link for frame in message.frames]
        assert kinds == [pb.FRAME_KIND_STATE, pb.FRAME_KIND_BUSY]
        assert len(plain.replica.uploads) == 0
        running.cancel()


@pytest.mark.parametrize("method", ["wait", "wait_items"])
async def test_a_caller_that_goes_away_frees_the_slot(method: str) -> None:
    """Its call is cancelled."""
    async with _plain() as plain:
        call = plain.call(method) if method == "wait" else plain.stream(method)
        await until(lambda: plain.replica.occupancy.ongoing == 1)
        call.cancel()
        await until(lambda: plain.replica.occupancy.ongoing == 0)


async def test_reading_on_in_a_stream_that_is_not_open_is_refused() -> None:
    """It has ended, or never was."""
    async with _plain() as plain:
        error = await _status(plain.call_stream(pb.CallStreamRequest(stream_id="s")))
        assert error.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (
            pb.Frame(
                kind=pb.FRAME_KIND_HELLO,
                hello=pb.Hello(protocol=99, deployment="default/SpanishAdder", caller="x"),
            ),
            "x speaks version 99 of the mesh protocol",
        ),
        (
            pb.Frame(
                kind=pb.FRAME_KIND_HELLO,
                hello=pb.Hello(protocol=PROTOCOL_VERSION, deployment="a/B", caller="x"),
            ),
            "x means to call a/B, but this is default/SpanishAdder",
        ),
        (
            pb.Frame(kind=pb.FRAME_KIND_RESPONSE, id=1),
            "a caller sent a frame of kind RESPONSE before",
        ),
        (pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=1), "before it said which deployment"),
    ],
    ids=["version", "deployment", "direction", "no-hello"],
)
async def test_a_link_that_breaks_the_protocol_is_refused(frame: pb.Frame, sentence: str) -> None:
    """With a sentence that says why."""
    async with _plain() as plain:
        error = await _status(plain.link(frame))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert sentence in (error.details() or "")


async def test_an_id_that_is_used_twice_is_refused() -> None:
    """Answers could not be told apart; what ran is cancelled."""
    async with _plain() as plain:
        hello = pb.Hello(protocol=PROTOCOL_VERSION, deployment="default/SpanishAdder", caller="x")
        request = pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=1, invocation=_invocation("wait", (), {}))
        error = await _status(
            plain.link(pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello), request, request)
        )
        assert "x used the id 1 after 1" in (error.details() or "")
        await until(lambda: plain.replica.occupancy.ongoing == 0)


async def test_an_address_that_cannot_be_bound_is_an_error() -> None:
    """Nobody would find the replica."""
    async with lone_replica(_Adder) as replica:
        with pytest.raises(RuntimeError, match="no-such-folder"):
            async with serving(replica, "unix:/no-such-folder/0.sock", None):
                pass
