"""Who gets through to a replica: members with an edge, by any RPC; others by none."""

from __future__ import annotations

import os
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from meshgen import serve
from meshgen.build.certs import Owner, issue_client, write_certificates
from meshgen.edges import Identity
from meshgen.errors import PermissionDeniedError
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.certificates import CertificateFolder, Certificates
from meshgen.runtime.gate import Gate
from meshgen.runtime.network import GrpcNetwork
from meshgen.runtime.server import serving
from meshgen.serve.context import scoped_caller
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import AppSpec, MeshSpec, app_spec
from meshgen.stub import DeploymentStub
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, mesh_caller

TOUCHED: list[str] = []


class _Bomb:
    """Leaves a note where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return _touch, ("unpickled",)


def _touch(note: str) -> None:
    TOUCHED.append(note)


class Echo:
    """What is behind the gate."""

    async def echo(self, value: Any) -> Any:
        """The value itself."""
        return value

    async def size(self, text: str) -> int:
        """Typed, too."""
        return len(text)

    async def count(self, n: int) -> AsyncIterator[int]:
        """A stream."""
        for number in range(n):
            yield number


class Friend:
    """Bound to it."""

    def __init__(self, echo: DeploymentHandle) -> None:
        self.echo = echo


class Stranger:
    """Bound to nothing."""


class Front:
    """The ingress."""

    def __init__(self, *handles: DeploymentHandle) -> None:
        self.handles = handles


def _app() -> AppSpec:
    front, friend, stranger = map(serve.deployment, (Front, Friend, Stranger))
    friends = friend.bind(serve.deployment(Echo).bind())
    return app_spec(build_graph(front.bind(friends, stranger.bind())), "/")


APP = _app()


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificates of a mesh, with a client's."""
    folder = tmp_path_factory.mktemp("mesh") / "certs"
    names = [*(stub.service for stub in APP.stubs.values()), "gateway"]
    owner = Owner(uid=os.getuid(), gid=os.getgid())
    write_certificates(folder, [Identity(project="default", name=name) for name in names], owner)
    for name, may_call in (("dora", frozenset({"Echo"})), ("bob", frozenset[str]())):
        client = Identity(project="default", name=name, is_client=True, may_call=may_call)
        issue_client(folder, client, days=1)
    return folder


def _certificates(certs: Path, name: str) -> Certificates:
    if (certs / "clients" / name).is_dir():
        return CertificateFolder(certs / "clients" / name).current()
    ca, folder = (certs / "ca.pem").read_bytes(), certs / name
    cert, key = ((folder / f"{part}.pem").read_bytes() for part in ("cert", "key"))
    return Certificates(ca=ca, cert=cert, key=key)


@dataclass(frozen=True)
class Door:
    """A replica behind its gate, and how to come there as somebody."""

    certs: Path
    address: str
    stub: DeploymentStub

    @asynccontextmanager
    async def caller(self, name: str) -> AsyncIterator[MeshCaller]:
        """Of a process that holds somebody's certificate."""
        certificates = _certificates(self.certs, name)
        network = GrpcNetwork(template=f"dns:{self.address}", name=name, certificates=certificates)
        async with mesh_caller(network, self.stub) as caller:
            yield caller

    @asynccontextmanager
    async def handle(self, name: str) -> AsyncIterator[DeploymentHandle]:
        """Of the deployment behind the gate."""
        async with self.caller(name) as caller:
            yield DeploymentHandle(self.stub, caller=caller)

    @asynccontextmanager
    async def channel(self, name: str) -> AsyncIterator[grpc.aio.Channel]:
        """A bare one."""
        own = _certificates(self.certs, name)
        credentials = grpc.ssl_channel_credentials(own.ca, own.key, own.cert)
        options = [("grpc.ssl_target_name_override", "echo")]
        async with grpc.aio.secure_channel(self.address, credentials, options=options) as channel:
            yield channel


@pytest.fixture
async def door(certs: Path) -> AsyncIterator[Door]:
    """The replica of Echo as a member of its mesh."""
    mesh = MeshSpec(apps={"default": APP})
    async with lone_replica(Echo, name="Echo") as replica:
        gate = Gate(replica.stub.id, lambda: mesh)
        server = _certificates(certs, "echo")
        async with serving(replica, "127.0.0.1:0", server, gate) as address:
            yield Door(certs=certs, address=address, stub=replica.stub)


@pytest.mark.parametrize("name", ["friend", "dora"])
async def test_who_has_an_edge_may_call(door: Door, name: str) -> None:
    """Small values, large ones and streams; services and clients alike."""
    async with door.handle(name) as echo:
        array = np.arange(100_000)
        assert await echo.echo.remote("hello") == "hello"
        assert (await echo.echo.remote(array) == array).all()
        assert [n async for n in echo.options(stream=True).count.remote(300)] == list(range(300))


@pytest.mark.parametrize("name", ["stranger", "gateway", "bob"])
async def test_who_has_none_is_told_what_to_do(door: Door, name: str) -> None:
    """No member of the mesh, the gateway included, calls what it has no edge to."""
    advice = "--may-call Echo" if name == "bob" else r"may_call=\['Echo'\]"
    async with door.handle(name) as echo:
        with pytest.raises(PermissionDeniedError, match=f"{name} may not call .*{advice}"):
            await echo.echo.remote("hello")
        with pytest.raises(PermissionDeniedError):
            await echo.echo.remote(np.arange(100_000))
        with pytest.raises(PermissionDeniedError):
            _ = [n async for n in echo.options(stream=True).count.remote(3)]


async def test_nothing_of_a_stranger_is_unpickled(door: Door) -> None:
    """Its arguments are thrown away as they came."""
    TOUCHED.clear()
    async with door.handle("stranger") as echo:
        with pytest.raises(PermissionDeniedError):
            await echo.echo.remote(_Bomb())
    assert TOUCHED == []
    async with door.handle("friend") as echo:
        await echo.echo.remote(_Bomb())
    assert TOUCHED, "the bomb is none"


@pytest.mark.parametrize(
    "path",
    [
        "/meshgen.v1.MeshService/Call",
        "/default.echo.v1.EchoService/Call",
        "/default.echo.v1.EchoService/Size",
    ],
)
async def test_unary_rpcs_are_behind_the_gate(door: Door, path: str) -> None:
    """The generic ones, and the typed."""
    message = b""
    if path.endswith("/Call"):
        arguments = pb.Payload(pickle=pickle.dumps((("hello",), {})))
        invocation = pb.Invocation(method="echo", arguments=arguments)
        message = pb.CallRequest(invocation=invocation).SerializeToString()
    async with door.channel("stranger") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(message, timeout=10)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    async with door.channel("friend") as channel:
        await channel.unary_unary(path)(message, timeout=10)


@pytest.mark.parametrize("rpc", ["CallStream", "Upload"])
async def test_streaming_rpcs_are_behind_the_gate(door: Door, rpc: str) -> None:
    """A stranger fills no memory either."""
    async with door.channel("stranger") as channel:
        path = f"/meshgen.v1.MeshService/{rpc}"
        call = channel.stream_stream(path)(iter([b""]), timeout=10)
        assert await call.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_values_are_for_who_was_given_their_token(door: Door) -> None:
    """A service that is passed a value comes for it where it was made, with an edge or without."""
    async with door.caller("friend") as friend, door.caller("stranger") as stranger:
        array = np.arange(100_000)
        made = await DeploymentHandle(door.stub, caller=friend).echo.remote(array)._to_object_ref()
        passed = pickle.dumps(made)
        here = scoped_caller.set(stranger)
        try:
            assert (await pickle.loads(passed) == array).all()
        finally:
            scoped_caller.reset(here)
