"""How a caller reaches replicas: the two networks offer the same."""

from __future__ import annotations

import asyncio

import pytest

from meshgen.errors import OptionError, ProtocolError
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.network import GrpcNetwork, MemoryNetwork, MemoryPeer
from meshgen.runtime.resolver import FolderResolver
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload
from tests.runtime.replicas import lone_replica, run_here, until

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
        peer = MemoryPeer("0", lambda _: None, replica)
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
