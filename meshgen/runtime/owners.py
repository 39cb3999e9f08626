"""Connections of a process to the replicas that keep values it needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshgen.errors import NotServingError, ObjectLostError
from meshgen.runtime.peer import Peer
from meshgen.runtime.session import ERROR
from meshgen.runtime.values import UpstreamError
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, Token
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.network import Network


class Owners:
    """One link for each replica, opened when it is first needed. Owns them; on the mesh's loop."""

    def __init__(self, network: Network, find: Callable[[DeploymentID], DeploymentStub]) -> None:
        self._network = network
        self._find = find
        self._peers: dict[tuple[DeploymentID, str], Peer] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.closed = False

    def peer_at(self, token: Token) -> Peer:
        """The link to where something is.

        Raises:
            MeshError: There is none to be had.
        """
        peer = self._peers.get((token.owner, token.address))
        if peer is None or peer.closed:
            if self.closed:
                raise ended(token)
            peer = self._network.connect(self._find(token.owner), token.address, self._changed)
            self._peers[token.owner, token.address] = peer
            peer.start()
        return peer

    def _changed(self, peer: Peer) -> None:
        if peer.closed:
            for key in [key for key, each in self._peers.items() if each is peer]:
                del self._peers[key]
                task = asyncio.get_running_loop().create_task(peer.close())
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            for awaited in peer.session.lost()[1]:
                awaited.lost()

    async def close(self) -> None:
        """End every link; questions that have no answer are lost."""
        self.closed = True
        for peer in list(self._peers.values()):
            peer.closed = True
            self._changed(peer)
        await asyncio.gather(*self._closing, return_exceptions=True)


async def ask(peer: Peer, kind: pb.FrameKind, token: Token) -> pb.Frame:
    """FETCH or HOLD a value; the answer.

    Raises:
        UpstreamError: The call that should have made it failed.
        ObjectLostError: It is gone, or who had it is.
    """
    question = _Question()
    question_id = peer.session.ask(kind, token.value_id, question)
    try:
        answer = await question.answer
    except asyncio.CancelledError:
        peer.session.cancel(question_id)
        raise
    if answer is None:
        raise lost(token, peer.failure or "its replica is gone")
    if answer.kind == ERROR:
        if answer.failure.kind == pb.FAILURE_KIND_LOST:
            raise ObjectLostError(answer.failure.message)
        raise UpstreamError(answer.failure)
    return answer


class _Question:
    """A FETCH or HOLD on its way; the answer is None when the link ended before it."""

    def __init__(self) -> None:
        self.answer: asyncio.Future[pb.Frame | None]
        self.answer = asyncio.get_running_loop().create_future()

    def answered(self, frame: pb.Frame) -> None:
        """It came."""
        if not self.answer.done():
            self.answer.set_result(frame)

    refused = answered

    def retained(self) -> None:
        """Questions have no outcome to keep."""

    def lost(self) -> None:
        """The link ended."""
        if not self.answer.done():
            self.answer.set_result(None)


def lost(token: Token, why: str) -> ObjectLostError:
    """What is told of a value that cannot be had."""
    return ObjectLostError(f"a value that {token.owner} made at {token.address} is lost: {why}")


def ended(token: Token) -> NotServingError:
    """What is told once this process's mesh was shut down."""
    return NotServingError(f"a value of {token.owner} cannot be had: the mesh was shut down")
