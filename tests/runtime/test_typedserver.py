"""Typed RPCs at a replica's own port, called by plain grpcio with messages made from its hints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.typed.convert import Converter
from meshgen.typed.deployment import typed_deployment
from meshgen.typed.lockfile import lock_text
from meshgen.types import DeploymentID
from tests.apps.typedshop import Item, Shop
from tests.runtime.replicas import lone_replica, short_folder, until

TYPED = typed_deployment(Shop, DeploymentID("default", "Shop")).converters()


class Client:
    """A plain channel, and the shapes that a client would generate."""

    def __init__(self, replica: Replica, channel: grpc.aio.Channel) -> None:
        self.replica = replica
        self.channel = channel

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """One RPC, not awaited."""
        shape: Converter = TYPED[method]
        make = self.channel.unary_stream if shape.streams else self.channel.unary_unary
        rpc = make(
            shape.path, shape.request_class.SerializeToString, shape.response_class.FromString
        )
        return rpc(shape.request(args), **options)

    async def value(self, method: str, *args: Any, **options: Any) -> Any:
        """What it returns."""
        return TYPED[method].result(await self.call(method, *args, **options))

    async def error(self, method: str, *args: Any, **options: Any) -> grpc.aio.AioRpcError:
        """How it fails."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            call = self.call(method, *args, **options)
            if TYPED[method].streams:
                [item async for item in call]
            else:
                await call
        return caught.value


@asynccontextmanager
async def shop(**options: Any) -> AsyncIterator[Client]:
    """A replica at a socket, and its client."""
    async with lone_replica(Shop, **options) as replica:
        with short_folder() as folder:
            async with serving(replica, f"unix:{folder}/0.sock", None) as address:
                async with grpc.aio.insecure_channel(address) as channel:
                    yield Client(replica, channel)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The google.rpc details of an error, by the names of their messages."""
    found = {}
    for detail in rpc_status.from_call(error).details:
        message = getattr(error_details_pb2, detail.type_url.rpartition(".")[2])()
        assert detail.Unpack(message)
        found[type(message).__name__] = message
    return found


async def test_methods_answer_with_messages() -> None:
    """Both kinds of functions, defaults, and a slot that is given back."""
    async with shop() as client:
        items = [Item("tea", 2.0), Item("cup")]
        assert await client.value("total", items) == 3.0
        assert await client.value("total", items, 2.0) == 6.0
        assert await client.value("plain", 1) == 2
        assert client.replica.occupancy.ongoing == 0


@pytest.mark.parametrize("method", ["count", "count_plain"])
async def test_generators_answer_with_a_message_for_each_item(method: str) -> None:
    """None of them is lost, and their slot is free after the last."""
    async with shop() as client:
        items = [TYPED[method].result(each) async for each in client.call(method, 300)]
        assert items == list(range(300))
        await until(lambda: client.replica.occupancy.ongoing == 0)


async def test_metadata_and_deadline_reach_the_request() -> None:
    """What has no place in a log line is taken out of the request's id."""
    sent = [("x-request-id", "r-1"), ("session_id", "s"), ("multiplexed_model_id", "m")]
    async with shop() as client:
        assert await client.value("whoami", metadata=sent) == ["r-1", "s", "m", ""]
        named, *_, deadline = await client.value("whoami", timeout=10)
        assert named and deadline == "deadline"


async def test_a_value_that_does_not_fit_is_named_with_its_reason() -> None:
    """INVALID_ARGUMENT, with a violation for the field; the method does not run."""
    async with shop() as client:
        request = TYPED["find"].request_class(id="x")
        rpc = client.channel.unary_unary(TYPED["find"].path)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc(request.SerializeToString())
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        [violation] = details(caught.value)["BadRequest"].field_violations
        assert violation.field == "id" and "UUID" in violation.description


async def test_bytes_that_are_no_message_are_refused() -> None:
    """And never unpickled, whatever they are."""
    async with shop() as client:
        rpc = client.channel.unary_unary(TYPED["plain"].path)
        with pytest.raises(grpc.aio.AioRpcError, match="what was sent is no") as caught:
            await rpc(b"\x80\x05K\x01.")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_exception_that_declares_a_status_is_told() -> None:
    """Its status, its message and its name."""
    async with shop() as client:
        error = await client.error("sell", "tea", metadata=[("x-request-id", "r-2")])
        assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no tea left")
        found = details(error)
        assert found["ErrorInfo"].reason == "SoldOut"
        assert found["RequestInfo"].request_id == "r-2"
        error = await client.error("brew")
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details(error)["ErrorInfo"].metadata["http_status"] == "418"


@pytest.mark.parametrize("method", ["fail", "leave", "lie"])
async def test_of_any_other_exception_clients_learn_the_request_only(
    method: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the rest, under that id."""
    async with shop() as client:
        error = await client.error(method, metadata=[("x-request-id", "r-3")])
    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "the request failed (request r-3)"
    assert "secret" not in str(error.trailing_metadata())
    assert "request r-3 of default/Shop." in caplog.text


async def test_an_error_comes_after_the_items_before_it() -> None:
    """As for a stream of a handle."""
    async with shop() as client:
        call = client.call("fail_later")
        assert TYPED["fail_later"].result(await call.read()) == 1
        with pytest.raises(grpc.aio.AioRpcError, match="that was all"):
            await call.read()


async def test_a_client_that_leaves_cancels_the_method() -> None:
    """By a deadline, too."""
    async with shop() as client:
        instance = client.replica.context.servable_object
        call = client.call("wait")
        task = asyncio.ensure_future(_end_of(call))
        await instance.began.wait()
        call.cancel()
        await instance.ended.wait()
        await task
        instance.began.clear()
        instance.ended.clear()
        seconds = 0.05
        while not instance.began.is_set():  # it may be over before it gets there
            error = await client.error("wait", timeout=seconds)
            assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            seconds *= 2
        await instance.ended.wait()
        await until(lambda: client.replica.occupancy.ongoing == 0)


async def _end_of(call: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_full_replica_says_when_to_come_back() -> None:
    """RESOURCE_EXHAUSTED, with what clients of gRPC retry by."""
    async with shop(max_ongoing_requests=1) as client:
        call = client.call("wait")
        task = asyncio.ensure_future(_end_of(call))
        await client.replica.context.servable_object.began.wait()
        error = await client.error("plain", 1)
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ("grpc-retry-pushback-ms", "100") in list(error.trailing_metadata())
        call.cancel()
        await task


async def test_the_numbers_are_those_of_the_build(tmp_path: Path) -> None:
    """As its lock has them, whatever this process would choose."""
    first = typed_deployment(Shop, DeploymentID("default", "Shop"))
    part = json.loads(json.dumps(first.lock))
    part["messages"]["PlainRequest"]["x"] = 7
    lock = {first.schema.package: part}
    (tmp_path / "meshgen.lock.json").write_text(lock_text(lock))
    shape = typed_deployment(Shop, DeploymentID("default", "Shop"), lock).converters()["plain"]
    assert shape.request_class.DESCRIPTOR.fields_by_name["x"].number == 7
    async with shop() as client:
        client.replica.code.lock_file = tmp_path / "meshgen.lock.json"
        rpc = client.channel.unary_unary(shape.path)
        answer = await rpc(shape.request((41,)).SerializeToString())
        assert shape.result(shape.response_class.FromString(answer)) == 42


async def test_a_method_that_is_not_typed_is_unimplemented() -> None:
    """As is any other name."""
    async with shop() as client:
        path = TYPED["plain"].path.rpartition("/")[0]
        for name in ("Anything", "Nothing"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await client.channel.unary_unary(f"{path}/{name}")(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
