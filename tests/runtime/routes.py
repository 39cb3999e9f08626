"""A router and scripted replicas, which do what a test says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime.codec import encode_arguments
from meshgen.runtime.peer import Peer
from meshgen.runtime.router import Router
from meshgen.runtime.streamcall import StreamCall
from meshgen.runtime.unarycall import UnaryCall
from meshgen.stub import DeploymentStub
from meshgen.types import CallPolicy, DeploymentID, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer
from tests.runtime.replicas import until

IDEMPOTENT = CallPolicy(idempotent=True)
STUB = DeploymentStub(id=DeploymentID("shop", "Cart"), service="cart")
SERVING = pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=2)
CONTEXT = RequestContext(request_id="r")


@dataclass(eq=False)
class Replicas:
    """A resolver and a network of scripted replicas."""

    period: float = 0.005
    found: list[str] = field(default_factory=list)
    peers: dict[str, ScriptedPeer] = field(default_factory=dict)
    connected: list[str] = field(default_factory=list)
    looks: int = 0
    broken: bool = False
    kind: type[ScriptedPeer] = ScriptedPeer

    async def addresses(self) -> list[str]:
        """Those that the test lists."""
        self.looks += 1
        if self.broken:
            raise OSError("too many open files")
        return list(self.found)

    def connect(self, address: str, on_change: Callable[[Peer], None]) -> Peer:
        """A new connection, which the test brings to life."""
        self.connected.append(address)
        self.peers[address] = self.kind(address, on_change)
        return self.peers[address]

    async def serve(self, address: str, state: pb.State = SERVING) -> ScriptedPeer:
        """A replica of that address, found and serving."""
        if address not in self.found:
            self.found.append(address)
        await until(lambda: address in self.peers and not self.peers[address].closed)
        self.peers[address].tell(state)
        return self.peers[address]


@dataclass(eq=False)
class Setup:
    """A router, its replicas, and a way to call."""

    router: Router
    replicas: Replicas
    here: Here = field(default_factory=Here)

    def call(
        self,
        *args: object,
        deadline: float | None = None,
        session: str = "",
        policy: CallPolicy | None = None,
    ) -> Reply:
        """Make a unary call."""
        reply = Reply()
        context = replace(CONTEXT, deadline=deadline, session_id=session)
        call = UnaryCall(STUB.id, "add", context, self.here, reply)
        call.arguments = encode_arguments((args, {}), has_responses=True)
        if policy is not None:
            call.policy, call.repeater = policy, self.router
        call.dispatcher = self.router
        reply.carrier = call
        call.set_out()
        return reply

    def stream(self) -> ItemBuffer:
        """Make a streaming call."""
        items = ItemBuffer()
        call = StreamCall(STUB.id, "count", CONTEXT, Here(), items)
        call.arguments = encode_arguments(((), {}))
        items.on_cancel = call.abandon
        self.router.submit(call)
        return items


@asynccontextmanager
async def routing(
    *addresses: str, max_queued: int = -1, patience: float = 60.0
) -> AsyncIterator[Setup]:
    """A router that has found these replicas."""
    replicas = Replicas()
    stub = replace(STUB, max_queued_requests=max_queued)
    router = Router(stub, replicas, replicas.connect, patience=patience)
    setup = Setup(router, replicas)
    try:
        if addresses:
            # Looking begins with the first call.
            first = setup.call("first")
            for address in addresses:
                await replicas.serve(address)
            for peer in replicas.peers.values():
                for call_id in peer.take():
                    peer.answer(call_id)
            await first
        yield setup
    finally:
        await router.close()
