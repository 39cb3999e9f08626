"""How a caller reaches replicas: over gRPC, or within this very process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meshgen.errors import NotServingError, ProtocolError, UnavailableError
from meshgen.runtime.certificates import CertificateSource
from meshgen.runtime.host import LinkHost, answer_stream
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.outbox import Outbox
from meshgen.runtime.peer import Peer
from meshgen.runtime.replica import Replica
from meshgen.runtime.resolver import Resolver, make_resolver
from meshgen.runtime.server import serving
from meshgen.runtime.skew import methods_text
from meshgen.settings import socket_folder
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb

OnChange = Callable[[Peer], None]


class Network(Protocol):
    """Finds the replicas of a deployment and connects to them."""

    def resolver(self, stub: DeploymentStub) -> Resolver:
        """Who tells the addresses of a deployment's replicas."""

    def connect(self, stub: DeploymentStub, address: str, on_change: OnChange) -> Peer:
        """A peer for one address, not started."""

    def hosting(self, replica: Replica) -> AbstractAsyncContextManager[str]:
        """Let others reach a replica of this process; gives its address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcNetwork:
    """Replicas of other processes. `template` is `Settings.resolver`; `name` says who calls."""

    template: str
    name: str = "driver"
    certificates: CertificateSource | None = None

    def resolver(self, stub: DeploymentStub) -> Resolver:
        """By the template."""
        return make_resolver(self.template, stub)

    def connect(self, stub: DeploymentStub, address: str, on_change: OnChange) -> Peer:
        """A gRPC connection."""
        return GrpcPeer(
            address, on_change, stub=stub, caller=self.name, certificates=self.certificates
        )

    def hosting(self, replica: Replica) -> AbstractAsyncContextManager[str]:
        """At a socket in the mesh's folder.

        Raises:
            NotServingError: This mesh has none.
        """
        scheme, _, root = self.template.partition(":")
        if scheme != "unix":
            raise NotServingError("large values can be put by deployments and local drivers only")
        folder = socket_folder(Path(root), replica.stub.id.app or "drivers", replica.stub.service)
        folder.mkdir(parents=True, exist_ok=True)
        return serving(replica, f"unix:{folder / replica.replica_id}.sock", None)


class MemoryNetwork:
    """Replicas of this process, by deployment: frames and payloads without a wire."""

    def __init__(self) -> None:
        self.replicas: dict[DeploymentID, list[Replica]] = {}

    @asynccontextmanager
    async def hosting(self, replica: Replica) -> AsyncIterator[str]:
        """In the list of replicas."""
        replica.store.address = replica.replica_id
        self.replicas.setdefault(replica.stub.id, []).append(replica)
        yield replica.replica_id

    def resolver(self, stub: DeploymentStub) -> Resolver:
        """The list of replicas, as it is by then."""
        return _MemoryResolver(self.replicas.setdefault(stub.id, []))

    def connect(self, stub: DeploymentStub, address: str, on_change: OnChange) -> Peer:
        """A replica of the list."""
        found = [r for r in self.replicas.get(stub.id, ()) if r.replica_id == address]
        if not found:
            raise UnavailableError(f"{stub.id} has no replica {address} here")
        return MemoryPeer(address, on_change, found[0], stub)


class _MemoryResolver:
    period = 0.1

    def __init__(self, replicas: list[Replica]) -> None:
        self._replicas = replicas

    async def addresses(self) -> list[str]:
        return [replica.replica_id for replica in self._replicas]


class MemoryPeer(Peer):
    """Both ends of a link in one object: what one session queues the other takes in."""

    def __init__(
        self, address: str, on_change: OnChange, replica: Replica, stub: DeploymentStub
    ) -> None:
        super().__init__(address, on_change)
        self._replica = replica
        self.session.hello(stub.id, "in-process", methods_text(stub))

    def start(self) -> None:
        """Connect the two sessions."""
        self.spawn(self._run())

    async def _run(self) -> None:
        self._replica.enter_context()
        try:
            async with LinkHost(self._replica) as host:
                self.spawn(self._forward(self.session.outbox, host))
                while (message := await host.session.outbox.next()) is not None:
                    self.session.ongoing = self._replica.occupancy.ongoing
                    self.session.receive(message.frames)
                    self.heard()
        finally:
            self.closed = True
            self.changed()

    async def _forward(self, outbox: Outbox[pb.LinkRequest], host: LinkHost) -> None:
        try:
            while (message := await outbox.next()) is not None:
                await host.receive(message.frames)
        except ProtocolError as exc:
            self.failure = f"the connection to {self.address} failed: {exc}"
            self.is_unfit = True
        host.session.outbox.close()

    async def upload(self, payload: Payload) -> str:
        """Park it at the replica."""
        return self._replica.uploads.park(_copy(payload))

    async def fetch(self, payload_id: str) -> Payload:
        """Take it from the replica."""
        async with self._replica.handing_out(payload_id) as payload:
            return _copy(payload)

    def read_on(self, stream_id: str) -> AsyncGenerator[pb.CallStreamResponse, None]:
        """The rest of a stream."""
        return answer_stream(self._replica, self._replica.streams.take(stream_id))


def _copy(payload: Payload) -> Payload:
    # As after a journey: arrays over it can be written to.
    return Payload(payload.pickle, [bytearray(part) for part in payload.buffers])
