"""The gRPC of a local mesh: its port, what is exposed, redeploys, and programs of one file."""

from __future__ import annotations

import asyncio
import signal
import socket
from pathlib import Path

import grpc
import grpc.aio
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen import serve
from meshgen.errors import DeployError
from meshgen.listener import bind, reserve
from tests.apps import typedshop
from tests.deploy.meshes import deploy, local_mesh
from tests.programs import assert_gone, start
from tests.reflected import Reflected, reflected

SHOP, STORE = "shop.shop.v1.ShopService", "shop.store.v1.StoreService"
PROGRAM = """
from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from meshgen import serve

@dataclass
class Item:
    name: str
    price: float = 1.0

@serve.deployment
class Shop:
    async def double(self, items: list[Item]) -> list[Item]:
        assert all(isinstance(item, Item) for item in items)
        return [*items, *items]

    def count(self, n: int) -> Iterator[int]:
        yield from range(n)

if __name__ == "__main__":
    serve.start({"port": 0}, grpc_options={"port": 0})
    serve.run(Shop.bind(), name="shop")
    print("gRPC on", serve.status().grpc_address)
    import threading
    threading.Event().wait()
"""


async def test_a_gateway_that_is_killed_comes_back_at_the_same_port() -> None:
    """The supervisor holds it."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, typedshop.app, prefix="/")
        address = mesh.grpc_address
        assert address is not None and mesh.status().grpc_address == address
        async with reflected(address, SHOP) as client:
            assert await client.value("Plain", {"x": 1}) == 2
            (gateway,) = [
                each
                for each in psutil.Process().children()
                if "meshgen.runtime.gateway" in each.cmdline()
            ]
            gateway.send_signal(signal.SIGKILL)
            assert_gone([gateway], within=5)
        async with reflected(address, SHOP) as client:
            assert await client.value("Plain", {"x": 2}) == 3


async def test_what_says_so_is_exposed_and_nothing_else() -> None:
    """Even where the application has no route, and so no exposed ingress."""
    store = serve.deployment(typedshop.Store, expose=True)
    app = serve.deployment(name="Shop")(typedshop.Front).bind(store.bind())
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, app, prefix=None)
        assert mesh.grpc_address is not None
        async with grpc.aio.insecure_channel(mesh.grpc_address) as channel:
            client = Reflected(mesh.grpc_address, channel, STORE)
            assert [s for s in await client.services() if s.startswith("shop.")] == [STORE]
            await client.learn(STORE)
            assert await client.value("Stock", {"name": "four"}) == 4
        await deploy(mesh, app, prefix="/")
        async with reflected(mesh.grpc_address, SHOP) as client:
            assert await client.value("Stock", {"name": "five!"}) == 5
        url = mesh.http_address or ""
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=20) as web:
            answer = await web.post("/Store/stock", json={"name": "six in all"})
            assert answer.json() == {"result": "10"}


async def test_a_redeploy_serves_what_is_there_then() -> None:
    """New methods are found on the same connection, and old ones are gone."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, typedshop.app, prefix="/")
        assert mesh.grpc_address is not None
        async with grpc.aio.insecure_channel(mesh.grpc_address) as channel:
            old = Reflected(mesh.grpc_address, channel, SHOP)
            await old.learn(SHOP)
            assert await old.value("Plain", {"x": 1}) == 2
            await deploy(mesh, serve.deployment(name="Shop")(typedshop.Store).bind(), prefix="/")
            new = Reflected(mesh.grpc_address, channel, SHOP)
            await new.learn(SHOP)
            assert await new.value("Stock", {"name": "four"}) == 4
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await old.value("Plain", {"x": 1})
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_program_of_one_file_has_typed_rpcs(tmp_path: Path) -> None:
    """Its class travels by value, and the names in its hints stay behind."""
    (tmp_path / "main.py").write_text(PROGRAM)
    with start("main.py", cwd=tmp_path) as program:
        address = program.until(r"gRPC on (\S+)")[1]
        async with reflected(address, SHOP) as client:
            items = await client.value("Double", {"items": [{"name": "tea", "price": 2.0}]})
            assert [(item.name, item.price) for item in items] == [("tea", 2.0)] * 2
            counted = [each.result async for each in client.call("Count", {"n": 3})]
            assert counted == [0, 1, 2]


async def test_who_watches_the_health_does_not_hold_up_the_end() -> None:
    """It is told that the gateway leaves, and its RPC ends."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, typedshop.app, prefix="/")
        assert mesh.grpc_address is not None
        async with grpc.aio.insecure_channel(mesh.grpc_address) as channel:
            watched = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            assert (await watched.read()).status == health_pb2.HealthCheckResponse.SERVING
            async with asyncio.timeout(18):  # a gateway that waits for its RPCs takes 20
                await mesh.close()
            assert (await watched.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
            assert await watched.read() is grpc.aio.EOF


def test_a_port_that_is_taken_is_refused_before_anything_starts() -> None:
    """Also where its owner would share it, as another mesh's gateway does."""
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DeployError, match=rf"gRPC on 127.0.0.1:{port}: .*--grpc-port"):
            reserve("127.0.0.1", port)
    with reserve("127.0.0.1", 0) as holder, socket.socket() as sharer:
        port = holder.getsockname()[1]
        sharer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sharer.bind(("127.0.0.1", port))
        sharer.listen()
        with pytest.raises(DeployError):
            reserve("127.0.0.1", port)
