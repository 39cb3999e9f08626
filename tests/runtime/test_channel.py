"""Channels of a mesh: who may speak to whom, and what gRPC's errors become."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from meshgen.build.certs import Owner, write_certificates
from meshgen.edges import Identity
from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    MeshError,
    ProtocolError,
    ReplicaLostError,
    RequestCancelledError,
    UnavailableError,
)
from meshgen.runtime.certificates import Certificates
from meshgen.runtime.channel import translate_rpc_errors
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from tests.runtime.replicas import lone_replica, over_tcp, settle, until


class _Echo:
    async def echo(self, value: object) -> object:
        return value

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number


def _authority(folder: Path) -> dict[str, Certificates]:
    """A mesh's certificates by service."""
    names = ("echo", "other")
    owner = Owner(uid=os.getuid(), gid=os.getgid())
    identities = [Identity(project="default", name=name) for name in names]
    write_certificates(folder, identities, owner)
    ca = (folder / "ca.pem").read_bytes()
    found = {}
    for name in names:
        cert, key = ((folder / name / f"{part}.pem").read_bytes() for part in ("cert", "key"))
        found[name] = Certificates(ca=ca, cert=cert, key=key)
    return found


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificates]:
    """The certificates of one mesh."""
    return _authority(tmp_path_factory.mktemp("mesh") / "certs")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Certificates]:
    """Those of another one, with the same names."""
    return _authority(tmp_path_factory.mktemp("foreign") / "certs")


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    """What the tests call."""
    async with lone_replica(_Echo, name="Echo") as replica:
        yield replica


async def test_members_of_a_mesh_reach_each_other(
    mesh: dict[str, Certificates], replica: Replica
) -> None:
    """Calls, streams and large values, over TCP and mutual TLS."""
    async with over_tcp(replica, server=mesh["echo"], client=mesh["other"]) as there:
        array = np.arange(1_000_000)
        assert (await there.handle.echo.remote(array) == array).all()
        assert [n async for n in there.stream.count.remote(3000)] == list(range(3000))


async def test_a_mesh_without_certificates_speaks_plainly(replica: Replica) -> None:
    """As inside of one machine."""
    async with over_tcp(replica) as there:
        assert await there.handle.echo.remote("plain") == "plain"


async def _refusal(
    replica: Replica, server: Certificates | None, client: Certificates | None
) -> str:
    """Why a link could not be made."""
    stub = replica.stub
    async with serving(replica, "127.0.0.1:0", server) as address:
        peer = GrpcPeer(address, lambda _: None, stub=stub, caller="test", certificates=client)
        peer.start()
        try:
            await until(lambda: peer.closed or peer.serving)
            assert not peer.serving, "the link was made"
            return peer.failure
        finally:
            await peer.close()


async def test_a_caller_of_another_mesh_is_refused(
    mesh: dict[str, Certificates], foreign: dict[str, Certificates], replica: Replica
) -> None:
    """Its certificate has the right name, from the wrong authority."""
    wrong = Certificates(ca=mesh["echo"].ca, cert=foreign["other"].cert, key=foreign["other"].key)
    failure = await _refusal(replica, mesh["echo"], wrong)
    assert failure.startswith("the connection to default/Echo at 127.0.0.1:")
    assert "failed" in failure


async def test_a_caller_without_a_certificate_is_refused(
    mesh: dict[str, Certificates], replica: Replica
) -> None:
    """Whether it speaks TLS or not."""
    assert await _refusal(replica, mesh["echo"], None)
    async with serving(replica, "127.0.0.1:0", mesh["echo"]) as address:
        options = [("grpc.ssl_target_name_override", "echo")]
        credentials = grpc.ssl_channel_credentials(mesh["echo"].ca)
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary("/meshgen.v1.MeshService/Call")(b"")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_replica_of_another_mesh_is_not_trusted(
    mesh: dict[str, Certificates], foreign: dict[str, Certificates], replica: Replica
) -> None:
    """The caller checks as well."""
    assert await _refusal(replica, foreign["echo"], mesh["other"])


async def test_a_replica_must_prove_which_service_it_is(
    mesh: dict[str, Certificates], replica: Replica
) -> None:
    """A certificate of the mesh is not enough: the name must be the one that was meant."""
    assert await _refusal(replica, mesh["other"], mesh["echo"])


async def test_a_plain_replica_is_not_trusted(
    mesh: dict[str, Certificates], replica: Replica
) -> None:
    """With certificates, nothing is said in the clear."""
    assert await _refusal(replica, None, mesh["other"])


def _rpc_errors() -> Iterator[tuple[grpc.StatusCode, type[MeshError]]]:
    yield grpc.StatusCode.UNAVAILABLE, ReplicaLostError
    yield grpc.StatusCode.CANCELLED, RequestCancelledError
    yield grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineError
    yield grpc.StatusCode.RESOURCE_EXHAUSTED, BackPressureError
    yield grpc.StatusCode.FAILED_PRECONDITION, ProtocolError
    yield grpc.StatusCode.NOT_FOUND, ProtocolError
    yield grpc.StatusCode.UNKNOWN, MeshError


@pytest.mark.parametrize(("code", "expected"), list(_rpc_errors()))
def test_grpcs_errors_become_ours(code: grpc.StatusCode, expected: type[MeshError]) -> None:
    """The message names the peer, the cause is gRPC's own error."""
    metadata = grpc.aio.Metadata()
    error = grpc.aio.AioRpcError(code, metadata, metadata, details="why")
    with pytest.raises(MeshError, match="the connection to shop/Cart failed: why") as caught:
        with translate_rpc_errors("shop/Cart"):
            raise error
    assert type(caught.value) is expected
    assert caught.value.__cause__ is error


async def test_who_waits_on_a_channel_that_is_closed_has_lost_its_replica(
    replica: Replica,
) -> None:
    """gRPC cancels what waits there, as if somebody had cancelled the task that waits."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        peer = GrpcPeer(
            address, lambda _: None, stub=replica.stub, caller="test", certificates=None
        )
        fetching = asyncio.create_task(peer.fetch("value"))
        await settle()
        await peer.close()
        with pytest.raises(ReplicaLostError, match="Echo at .* was closed"):
            await fetching


async def test_a_task_that_is_cancelled_itself_stays_cancelled() -> None:
    """That is not its connection's end."""

    async def wait() -> None:
        with translate_rpc_errors("shop/Cart"):
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_other_errors_pass() -> None:
    """They are not the connection's."""
    with pytest.raises(KeyError), translate_rpc_errors("shop/Cart"):
        raise KeyError("x")
    assert issubclass(ReplicaLostError, UnavailableError)
