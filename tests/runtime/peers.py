"""A replica that does what a test says, when it says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from meshgen.runtime.holds import Holds
from meshgen.runtime.peer import Peer
from meshgen.runtime.replica import Replica
from meshgen.runtime.resolver import Resolver
from meshgen.runtime.session import REQUEST
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb


class ScriptedPeer(Peer):
    """A replica that does what the test says, when it says so."""

    def start(self) -> None:
        """The test says when it is connected."""
        self.uploads: list[asyncio.Future[str]] = []
        self.fetches: list[asyncio.Future[Payload]] = []
        self.rest: asyncio.Queue[pb.CallStreamResponse | None] = asyncio.Queue()

    def tell(self, state: pb.State) -> None:
        """The replica tells its state."""
        self.arrive(pb.Frame(kind=pb.FRAME_KIND_STATE, state=state))

    def frames(self) -> list[pb.Frame]:
        """What was queued leaves."""
        frames: list[pb.Frame] = []
        while (message := self.session.outbox.take()) is not None:
            frames += message.frames
        return frames

    def take(self) -> list[int]:
        """What was queued leaves: the ids of the calls among it."""
        return [frame.id for frame in self.frames() if frame.kind == REQUEST]

    def take_one(self) -> int:
        """What was queued leaves: one call."""
        (call_id,) = self.take()
        return call_id

    async def sent(self) -> list[int]:
        """The ids of the next calls that are sent."""
        ids: list[int] = []
        while not ids:
            message = await self.session.outbox.next()
            assert message is not None
            ids = [frame.id for frame in message.frames if frame.kind == REQUEST]
        return ids

    def answer(self, call_id: int, text: str = "") -> None:
        """A call has a result."""
        frame = pb.Frame(kind=pb.FRAME_KIND_RESPONSE, id=call_id)
        frame.payload.pickle = b"\x8c" + bytes([len(text)]) + text.encode() + b"."
        self.arrive(frame)

    def refuse(self, call_id: int) -> None:
        """A call is sent away."""
        self.arrive(pb.Frame(kind=pb.FRAME_KIND_BUSY, id=call_id))

    def confirm(self, call_id: int) -> None:
        """A call's outcome is going to be kept."""
        self.arrive(pb.Frame(kind=pb.FRAME_KIND_RETAIN, id=call_id))

    def lose(self, failure: str = "") -> None:
        """The connection ends."""
        self.failure = failure
        self.closed = True
        self.changed()

    def arrive(self, frame: pb.Frame) -> None:
        """A frame comes in."""
        self.session.receive([frame])
        self.heard()

    async def upload(self, payload: Payload) -> str:
        """Wait until the test says that it arrived."""
        arrived = asyncio.get_running_loop().create_future()
        self.uploads.append(arrived)
        return str(await arrived)

    async def fetch(self, payload_id: str) -> Payload:
        """Wait until the test says what it is."""
        fetched: asyncio.Future[Payload] = asyncio.get_running_loop().create_future()
        self.fetches.append(fetched)
        return await fetched

    async def read_on(self, stream_id: str) -> AsyncGenerator[pb.CallStreamResponse, None]:
        """What the test puts there, until None."""
        while (message := await self.rest.get()) is not None:
            yield message


def serving_peer(address: str = "a") -> ScriptedPeer:
    """A replica that takes calls."""
    peer = ScriptedPeer(address, lambda _: None)
    peer.start()
    peer.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=9))
    return peer


class ScriptedNetwork:
    """Replicas that do what the test says, by address; all of them serve at once."""

    def __init__(self) -> None:
        self.peers: dict[str, ScriptedPeer] = {}

    def hosting(self, replica: Replica) -> AbstractAsyncContextManager[str]:
        """Nobody is to reach this process."""
        raise AssertionError("nothing is hosted here")

    def resolver(self, stub: DeploymentStub) -> Resolver:
        """Nobody looks for replicas here."""
        raise AssertionError("the tests say which replica takes a call")

    def connect(
        self, stub: DeploymentStub, address: str, on_change: Callable[[Peer], None]
    ) -> Peer:
        """A new one."""
        self.peers[address] = ScriptedPeer(address, on_change)
        return self.peers[address]


class Here:
    """The caller of a process, on the loop that it is called on."""

    def __init__(self) -> None:
        self.network = ScriptedNetwork()
        self.holds = Holds(self.network, _stub, self)

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """At once."""
        function(*args)


def _stub(owner: DeploymentID) -> DeploymentStub:
    return DeploymentStub(id=owner, service=owner.name.lower())
