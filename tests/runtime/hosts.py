"""One caller's link at a replica, its frames made by hand."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from meshgen.errors import ObjectLostError
from meshgen.objectref import ByValue, ObjectRef
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode_arguments
from meshgen.runtime.frames import PROTOCOL_VERSION
from meshgen.runtime.host import LinkHost
from meshgen.runtime.replica import Replica
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, run_here, until


class Worker:
    """Does what tests ask for."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.go_on = asyncio.Event()

    async def add(self, x: int) -> int:
        """One more."""
        self.log.append(f"add {x}")
        return x + 1

    async def wait(self) -> str:
        """Until it may go on."""
        try:
            self.log.append("began")
            await self.go_on.wait()
            return "waited"
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self.log.append("cleaned up")
            raise

    async def large(self) -> bytes:
        """More than a link carries."""
        return bytes(INLINE_LIMIT)

    async def keep(self, value: Any) -> str:
        """Beyond the call."""
        self.kept = value
        return type(value).__name__

    async def look(self, value: Any) -> str:
        """And let go of it."""
        return type(value).__name__

    async def fail(self) -> None:
        """Always."""
        raise KeyError("no")

    async def miss(self) -> None:
        """A value that is gone."""
        raise ObjectLostError("gone")

    async def stubborn(self) -> bytes:
        """A large value, even if it is cancelled."""
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.log.append("not impressed")
        return bytes(INLINE_LIMIT)

    async def items(self, n: int, size: int) -> AsyncIterator[bytes]:
        """Some of a size."""
        for _ in range(n):
            yield bytes(size)

    async def endless(self) -> AsyncIterator[int]:
        """Until it is closed."""
        try:
            while True:
                yield 1
                await asyncio.sleep(0)
        finally:
            self.log.append("closed")


@asynccontextmanager
async def hosted(**options: Any) -> AsyncIterator[tuple[LinkHost, Replica, Worker]]:
    """A replica and one link of it."""
    async with lone_replica(Worker, **options) as replica:
        async with LinkHost(replica) as host:
            await host.receive([hello()])
            yield host, replica, replica.context.servable_object
        await until(lambda: replica.occupancy.ongoing == 0)


@asynccontextmanager
async def in_mesh(**options: Any) -> AsyncIterator[tuple[LinkHost, Replica, Worker]]:
    """The same in a mesh, where the replica finds itself at `0`."""
    async with run_here(Worker, **options) as mesh:
        (replica,) = mesh.replicas
        replica.last_questions = 0.01
        async with LinkHost(replica) as host:
            await host.receive([hello()])
            yield host, replica, replica.context.servable_object
        await until(lambda: replica.occupancy.ongoing == 0)


def hello() -> pb.Frame:
    """The first frame."""
    hello = pb.Hello(protocol=PROTOCOL_VERSION, deployment="default/Worker", caller="test")
    return pb.Frame(kind=pb.FRAME_KIND_HELLO, hello=hello)


def request(call_id: int, method: str, *args: Any, stream: bool = False) -> pb.Frame:
    """A call."""
    invocation = pb.Invocation(
        method=method, arguments=pb.Payload(pickle=pickle.dumps((args, {}))), stream=stream
    )
    return pb.Frame(kind=pb.FRAME_KIND_REQUEST, id=call_id, invocation=invocation)


def passing(
    call_id: int, method: str, *value_ids: str, by_value: bool = True, stream: bool = False
) -> pb.Frame:
    """A call with values that the replica at `0` keeps as its arguments."""
    frame = request(call_id, method, stream=stream)
    replies = [Reply() for _ in value_ids]
    marked: list[Any] = [ByValue(reply) if by_value else ObjectRef(reply) for reply in replies]
    arguments = frame.invocation.arguments
    arguments.pickle = bytes(encode_arguments((marked, {}), has_responses=True).pickle)
    arguments.has_more = True
    for value_id in value_ids:
        arguments.references.add(
            owner="default/Worker", address="0", value_id=value_id, by_value=by_value
        )
    return frame


def cancel(call_id: int) -> pb.Frame:
    """Nobody waits any more."""
    return pb.Frame(kind=pb.FRAME_KIND_CANCEL, id=call_id)


def of_value(kind: pb.FrameKind, value_id: str, call_id: int = 0) -> pb.Frame:
    """Something about a value."""
    return pb.Frame(kind=kind, id=call_id, value_id=value_id)


async def answers(host: LinkHost, count: int) -> list[pb.Frame]:
    """The next frames that are no word of the state."""
    found: list[pb.Frame] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            message = await host.session.outbox.next()
            assert message is not None
            found += [f for f in message.frames if f.kind != pb.FRAME_KIND_STATE]
    return found
