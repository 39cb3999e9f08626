"""The gateway's gRPC for clients that know nothing of meshgen: reflection and plain grpcio only."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from meshgen.testing import Mode, run_grpc
from meshgen.v1 import mesh_pb2 as pb
from tests.apps import typedshop
from tests.reflected import Reflected, reflected

pytestmark = pytest.mark.asyncio(loop_scope="module")

SERVICE = "default.shop.v1.ShopService"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(mode: Mode) -> AsyncIterator[Reflected]:
    """Knows tests/apps/typedshop.py by reflection."""
    async with run_grpc(typedshop.chained, mode=mode) as address:
        async with reflected(address, SERVICE) as made:
            yield made


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_tells_what_is_served_and_nothing_else(
    client: Reflected, version: str
) -> None:
    """The ingress; neither the deployment behind it nor RPCs that take pickles."""
    other = Reflected(client.address, client.channel, SERVICE, version)
    assert await other.services() == [
        SERVICE,
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    await other.learn(SERVICE)
    assert "Total" in other.rpcs() and not {"Call", "CallStream"} & set(other.rpcs())
    for service in await other.services():
        await Reflected(client.address, client.channel, SERVICE, version).learn(service)
    answer = await other.ask(file_containing_symbol="default.store.v1.StoreService")
    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_the_gateway_is_healthy(client: Reflected) -> None:
    """As a whole and for each service that it serves."""
    health = health_pb2_grpc.HealthStub(client.channel)
    for service in ("", SERVICE):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="default.store.v1.StoreService"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watched = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
    watched.cancel()


async def test_calls_reach_methods_and_what_these_call(client: Reflected) -> None:
    """Small and large, `def` and `async def`, and a handle in the method."""
    items = [{"name": "tea", "price": 2.0}, {"name": "cup"}]
    assert await client.value("Total", {"items": items}) == 3.0
    assert await client.value("Plain", {"x": 1}) == 2
    assert await client.value("Stock", {"name": "four"}) == 4
    text = "x" * 1_000_000
    assert await client.value("Repeat", {"text": text}) == text


async def test_streams_come_item_by_item(client: Reflected) -> None:
    """Of both kinds of generators."""
    for rpc in ("Count", "CountPlain"):
        items = [each.result async for each in client.call(rpc, {"n": 2000})]
        assert items == list(range(2000))


async def test_metadata_and_deadlines_travel(client: Reflected) -> None:
    """To the replica's request."""
    metadata = [("x-request-id", "r-1"), ("session_id", "s"), ("multiplexed_model_id", "m")]
    found = await client.value("Whoami", {}, metadata=metadata, timeout=10)
    assert found == ["r-1", "s", "m", "deadline"]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.value("Wait", {}, timeout=0.1)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_client_that_leaves_cancels_the_method(client: Reflected) -> None:
    """As the method itself says."""
    call = client.call("Wait", {})
    ends = await client.value("Ends", {})
    task = asyncio.ensure_future(_cancelled(call))
    while not await client.value("Waits", {}):
        pass
    call.cancel()
    await task
    while await client.value("Ends", {}) == ends:
        pass


async def _cancelled(call: Any) -> None:
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_errors_have_their_status_and_details(client: Reflected) -> None:
    """Fields that do not fit, declared exceptions, and for all else the request's id."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.value("Find", {"id": "x"})
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    bad = error_details_pb2.BadRequest()
    assert rpc_status.from_call(caught.value).details[0].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == ["id"]
    with pytest.raises(grpc.aio.AioRpcError, match="no tea left") as caught:
        await client.value("Sell", {"name": "tea"})
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.value("Fail", {}, metadata=[("x-request-id", "r-2")])
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "the request failed (request r-2)"
    assert "secret" not in repr(caught.value.trailing_metadata())


async def test_an_error_comes_after_the_items_before_it(client: Reflected) -> None:
    """As its status."""
    call = client.call("FailLater", {})
    assert (await call.read()).result == 1
    with pytest.raises(grpc.aio.AioRpcError, match="that was all") as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    "path",
    [
        "/meshgen.v1.MeshService/Call",
        "/meshgen.v1.MeshService/Link",
        f"/{SERVICE}/Call",
        f"/{SERVICE}/Anything",
        "/default.store.v1.StoreService/Stock",
        "/no.such.Service/Rpc",
    ],
)
async def test_nothing_else_is_there(client: Reflected, path: str) -> None:
    """UNIMPLEMENTED, with a sentence that says how to find what is."""
    with pytest.raises(grpc.aio.AioRpcError, match="is not served here; reflection") as caught:
        await client.channel.unary_unary(path)(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("rpc", ["Total", "Count", "Call", "Nothing"])
async def test_a_pickle_is_never_unpickled(client: Reflected, rpc: str, tmp_path: Path) -> None:
    """Not as a message, nor as the arguments of an RPC of the mesh's own."""
    trap = pickle.dumps(Trap(tmp_path / "sprung"))
    call = pb.CallRequest(
        invocation=pb.Invocation(method="plain", arguments=pb.Payload(pickle=trap))
    )
    for message in (trap, call.SerializeToString()):
        with suppress(grpc.aio.AioRpcError):  # or it is taken for a message of defaults
            await client.channel.unary_unary(f"/{SERVICE}/{rpc}")(message)
    assert not (tmp_path / "sprung").exists()
    pickle.loads(trap)
    assert (tmp_path / "sprung").exists()
