"""How a caller reaches replicas: the two networks offer the same."""

from __future__ import annotations

import asyncio

import pytest

from meshgen import __version__
from meshgen.errors import OptionError, ProtocolError
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.network import GrpcNetwork, MemoryNetwork, MemoryPeer, OnChange
from meshgen.runtime.peer import Peer
from meshgen.runtime.resolver import FolderResolver
from meshgen.runtime.skew import methods_text
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload
from tests.runtime.replicas import OVER, Mesh, Over, lone_replica, run_here, until

STUB = DeploymentStub(id=DeploymentID("shop", "Cart"), service="cart")


class _Echo:
    async def echo(self, x: object) -> object:
        return x


async def test_a_grpc_network_resolves_by_its_template() -> None:
    """As the process was told."""
    assert isinstance(GrpcNetwork(template="unix:/mesh").resolver(STUB), FolderResolver)
    with pytest.raises(OptionError, match="cannot find replicas by 'somewhere'"):
        GrpcNetwork(template="somewhere").resolver(STUB)


async def test_a_grpc_peer_says_who_it_is_for() -> None:
    """Its first frame names the deployment and the caller."""
    peer = GrpcNetwork(template="unix:/mesh", name="driver").connect(
        STUB, "unix:/mesh/0.sock", lambda _: None
    )
    assert isinstance(peer, GrpcPeer) and not peer.serving
    message = peer.session.outbox.take()
    assert message is not None
    hello = message.frames[0].hello
    assert (hello.deployment, hello.caller) == ("shop/Cart", "driver")
    assert (hello.methods, hello.version) == (methods_text(STUB), __version__)
    await peer.close()


def _peer_of(mesh: Mesh, on_change: OnChange) -> Peer:
    if not mesh.addresses:
        return MemoryPeer("0", on_change, mesh.replicas[0], mesh.stub)
    return GrpcNetwork(template="unix:").connect(mesh.stub, mesh.addresses[0], on_change)


@pytest.mark.parametrize("over", OVER)
async def test_a_replica_says_how_many_calls_run_there(over: Over) -> None:
    """Of all callers, as of when its message left; its caller knows when it reads that."""
    go_on = asyncio.Event()

    class Waiting:
        async def wait(self) -> None:
            await go_on.wait()

        async def nothing(self) -> None:
            pass

    async with run_here(Waiting, over=over) as mesh:
        waiting = [mesh.handle.wait.remote() for _ in range(3)]
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 3)
        told: list[int] = []
        peer = _peer_of(mesh, lambda p: told.append(p.session.ongoing))
        peer.start()
        await until(lambda: peer.serving)
        assert told[-1] == peer.session.ongoing == 3
        go_on.set()
        for response in waiting:
            await response
        peer.session.ping(lambda: told.append(-1))
        await until(lambda: told[-1] == 0)
        assert told[-2:] == [-1, 0]
        await peer.close()


async def test_replicas_in_memory_are_found_as_they_come() -> None:
    """The list is looked at anew each time."""
    async with lone_replica(_Echo) as replica:
        network = MemoryNetwork()
        resolver = network.resolver(replica.stub)
        assert await resolver.addresses() == []
        network.replicas[replica.stub.id].append(replica)
        assert await resolver.addresses() == ["0"]


async def test_a_large_payload_in_memory_is_handed_over_once() -> None:
    """As over a wire: nobody else holds what arrived."""
    async with lone_replica(_Echo) as replica:
        peer = MemoryPeer("0", lambda _: None, replica, replica.stub)
        payload = Payload(b"pickle", [b"buffer"])
        sent = replica.uploads.take(await peer.upload(payload))
        sent.buffers[0][0] = 7  # type: ignore[index]
        assert payload.buffers == [b"buffer"]
        kept = replica.results.park(payload)
        assert await peer.fetch(kept) == Payload(b"pickle", [bytearray(b"buffer")])
        with pytest.raises(ProtocolError):
            await peer.fetch(kept)


async def test_a_new_replica_is_found_and_shares_the_load() -> None:
    """Calls that wait for a full one go there."""
    go_on = asyncio.Event()

    class Waiting:
        async def wait(self, n: int) -> int:
            await go_on.wait()
            return n

    async with run_here(Waiting, replicas=2, max_ongoing_requests=2) as mesh:
        late = mesh.replicas.pop()
        responses = [mesh.handle.wait.remote(n) for n in range(10)]
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 2)
        mesh.replicas.append(late)
        await until(lambda: late.occupancy.ongoing == 2)
        go_on.set()
        assert [await response for response in responses] == list(range(10))
