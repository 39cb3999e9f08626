"""Replicas in this process, over links whose messages arrive when a test lets them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from meshgen.errors import ReplicaLostError, UnavailableError
from meshgen.runtime.host import LinkHost, answer_stream
from meshgen.runtime.network import MemoryNetwork, OnChange
from meshgen.runtime.peer import Peer
from meshgen.runtime.replica import Replica
from meshgen.runtime.resolver import Resolver
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb


class Gate:
    """Where messages wait while it is shut."""

    def __init__(self) -> None:
        self._opened = asyncio.Event()
        self._opened.set()

    def turn(self) -> None:
        """Shut it, or open it."""
        if self._opened.is_set():
            self._opened.clear()
        else:
            self._opened.set()

    def open(self) -> None:
        """For good, as far as this test is concerned."""
        self._opened.set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._opened.wait()


class GatedPeer(Peer):
    """As `MemoryPeer`, with a gate for each direction and one for what goes beside the link."""

    def __init__(self, address: str, on_change: OnChange, replica: Replica) -> None:
        super().__init__(address, on_change)
        self.replica = replica
        self.gates = [Gate(), Gate(), Gate()]
        self._to_replica, self._to_caller, self._beside = self.gates
        self.session.hello(replica.stub.id, "test")

    def start(self) -> None:
        """Connect the two sessions."""
        self._running = self.spawn(self._run())
        # Said here: one that is cancelled before it has begun runs no line of its own.
        self._running.add_done_callback(lambda _: self.lose(replica_first=False))

    def lose(self, *, replica_first: bool) -> None:
        """The connection ends; one end notices before the other."""
        if replica_first:
            self._running.cancel()
        elif not self.closed:
            self.closed = True
            self.changed()

    async def _run(self) -> None:
        self.replica.enter_context()
        async with LinkHost(self.replica) as host:
            forwarding = self.spawn(self._forward(host))
            try:
                await self._bring_back(host)
            finally:
                # Who has lost the link takes nothing in any more.
                forwarding.cancel()

    async def _bring_back(self, host: LinkHost) -> None:
        while (message := await host.session.outbox.next()) is not None:
            await self._to_caller.passed()
            if not self.closed:
                arrived = pb.LinkResponse.FromString(message.SerializeToString())
                self.session.ongoing = self.replica.occupancy.ongoing
                self.session.receive(arrived.frames)
                self.heard()

    async def _forward(self, host: LinkHost) -> None:
        while (message := await self.session.outbox.next()) is not None:
            await self._to_replica.passed()
            arrived = pb.LinkRequest.FromString(message.SerializeToString())
            await host.receive(arrived.frames)
        host.session.outbox.close()

    async def upload(self, payload: Payload) -> str:
        """Park it at the replica, some time."""
        await self._pass_beside()
        return self.replica.uploads.park(_copy(payload))

    async def fetch(self, payload_id: str) -> Payload:
        """Take it from the replica, some time."""
        await self._pass_beside()
        async with self.replica.handing_out(payload_id) as payload:
            await self._pass_beside()
            return _copy(payload)

    async def read_on(self, stream_id: str) -> AsyncGenerator[pb.CallStreamResponse, None]:
        """The rest of a stream, a message at a time."""
        await self._pass_beside()
        messages = answer_stream(self.replica, self.replica.streams.take(stream_id))
        try:
            async for message in messages:
                await self._pass_beside()
                yield message
        finally:
            await messages.aclose()

    async def _pass_beside(self) -> None:
        await self._beside.passed()
        if self.closed:
            raise ReplicaLostError(f"{self.address} is gone")


class GatedNetwork(MemoryNetwork):
    """Knows every link that was made, and replicas that are there but take no new calls."""

    def __init__(self) -> None:
        super().__init__()
        self.peers: list[GatedPeer] = []
        self.leaving: dict[str, Replica] = {}

    def resolver(self, stub: DeploymentStub) -> Resolver:
        """A list that is looked at often."""
        resolver = super().resolver(stub)
        resolver.period = 0.002
        return resolver

    def leave(self, of: DeploymentID, replica: Replica) -> None:
        """Nobody finds it any more, but who knows its address."""
        self.replicas[of].remove(replica)
        self.leaving[replica.replica_id] = replica

    def connect(self, stub: DeploymentStub, address: str, on_change: OnChange) -> Peer:
        """A replica that is there."""
        found = {each.replica_id: each for each in self.replicas.get(stub.id, ())} | self.leaving
        if address not in found:
            raise UnavailableError(f"{stub.id} has no replica {address} here")
        peer = GatedPeer(address, on_change, found[address])
        self.peers.append(peer)
        return peer


def _copy(payload: Payload) -> Payload:
    return Payload(payload.pickle, [bytearray(part) for part in payload.buffers])
