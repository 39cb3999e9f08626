"""Which replicas get calls: those that are there, and work, for all that is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshgen.runtime.members import Members, backoff
from meshgen.runtime.peer import Peer
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer
from tests.runtime.replicas import settle, until
from tests.runtime.routes import STUB, Replicas

PING = pb.FRAME_KIND_PING


class Setup:
    """Members, whose events are noted, and the replicas that they find."""

    def __init__(self) -> None:
        self.replicas = Replicas()
        self.members = Members(STUB, self.replicas, self.replicas.connect, self)
        self.ended: list[str] = []
        self.is_waiting = True

    def changed(self) -> None:
        """Nothing waits here."""

    def lost(self, peer: Peer) -> None:
        """It is none of them any more."""
        assert peer not in self.members.peers
        self.ended.append(peer.address)

    def looked(self) -> None:
        """Nothing waits here."""

    @property
    def serving(self) -> set[str]:
        """The addresses that get calls."""
        return {peer.address for peer in self.members.serving}

    async def back(self, address: str) -> ScriptedPeer:
        """A replica that broke is connected to anew, and serves."""
        self.replicas.peers[address].lose("broken pipe")
        return await self.replicas.serve(address)

    def pause(self, address: str) -> float:
        """How long it is left alone, this time."""
        record = vars(self.members)["_records"][address]
        return float(record.pause)


@asynccontextmanager
async def finding(*addresses: str) -> AsyncIterator[Setup]:
    """Members that have found these replicas."""
    setup = Setup()
    setup.members.watch()
    try:
        for address in addresses:
            await setup.replicas.serve(address)
        yield setup
    finally:
        await setup.members.close()


def _pong(peer: ScriptedPeer) -> None:
    """It answers what it was asked."""
    (ping,) = [frame for frame in peer.frames() if frame.kind == PING]
    peer.arrive(pb.Frame(kind=pb.FRAME_KIND_PONG, id=ping.id))


async def test_a_replica_gets_calls_when_it_says_that_it_serves() -> None:
    """And none when it leaves."""
    async with finding("a", "b") as setup:
        assert setup.serving == {"a", "b"}
        setup.replicas.peers["a"].tell(pb.State(phase=pb.REPLICA_PHASE_DRAINING))
        assert setup.serving == {"b"} and setup.ended == []


async def test_a_new_replica_need_not_prove_anything() -> None:
    """Only one that has failed does."""
    async with finding("a") as setup:
        peer = await setup.replicas.serve("b")
        assert setup.serving == {"a", "b"} and peer.frames() == []


async def test_a_replica_that_failed_answers_a_ping_before_it_gets_calls() -> None:
    """A connection alone proves nothing."""
    async with finding("a", "b") as setup:
        peer = await setup.back("a")
        assert setup.serving == {"b"}
        _pong(peer)
        assert setup.serving == {"a", "b"}


async def test_the_only_replica_gets_calls_at_once() -> None:
    """There is nobody to wait with."""
    async with finding("a") as setup:
        await setup.back("a")
        assert setup.serving == {"a"}


async def test_a_suspect_replica_is_better_than_none() -> None:
    """When the last of the others goes."""
    async with finding("a", "b") as setup:
        await setup.back("a")
        assert setup.serving == {"b"}
        setup.replicas.found.remove("b")
        setup.replicas.peers["b"].lose()
        assert setup.serving == {"a"}


async def test_a_replica_that_breaks_again_is_left_alone_for_longer() -> None:
    """Though it answers between: twice as long each time."""
    async with finding("a", "b") as setup:
        pauses = []
        for _ in range(3):
            peer = await setup.back("a")
            _pong(peer)
            peer.answers += 1
            pauses.append(setup.pause("a"))
        assert pauses == [0.1, 0.2, 0.4]


async def test_the_only_replica_is_never_left_alone_for_long() -> None:
    """That would save nobody."""
    async with finding("a", "b") as setup:
        record = vars(setup.members)["_records"]
        await setup.back("a")
        record["a"].failures = 10
        setup.replicas.peers["a"].lose()
        assert setup.pause("a") == 10.0
        now = asyncio.get_running_loop().time()
        is_left_alone = vars(Members)["_is_left_alone"]
        assert is_left_alone(setup.members, "a", now + 2)
        setup.replicas.peers["b"].tell(pb.State(phase=pb.REPLICA_PHASE_FAILED))
        assert not is_left_alone(setup.members, "a", now + 2)


async def test_a_replica_of_another_build_is_hardly_asked_again() -> None:
    """Unless a call waits: it may be that the build that fits is there by now."""
    async with finding("a") as setup:
        is_left_alone = vars(Members)["_is_left_alone"]
        setup.replicas.peers["a"].is_unfit = True
        setup.replicas.peers["a"].lose("knows other methods")
        await setup.replicas.serve("a")
        vars(setup.members)["_records"]["a"].failures = 5
        setup.replicas.peers["a"].is_unfit = True
        setup.replicas.peers["a"].lose("knows other methods")
        now = asyncio.get_running_loop().time()
        assert setup.pause("a") == 32.0
        setup.is_waiting = False
        assert is_left_alone(setup.members, "a", now + 30)
        setup.is_waiting = True
        assert not is_left_alone(setup.members, "a", now + 2)


async def test_a_connection_that_has_worked_for_long_is_forgiven() -> None:
    """The next failure is a first one."""
    async with finding("a", "b") as setup:
        peer = await setup.back("a")
        _pong(peer)
        peer.answers += 1
        looks = setup.replicas.looks
        await until(lambda: setup.replicas.looks > looks + 1)
        assert setup.pause("a") == 0.1
        peer.serving_since -= 10  # as if it had been ten seconds
        await until(lambda: not vars(setup.members)["_records"])


async def test_a_replica_that_cannot_be_reached_is_tried_often() -> None:
    """It may be starting: nobody waits long for one that is new."""
    async with finding("a") as setup:
        setup.replicas.found.append("b")
        await until(lambda: "b" in setup.replicas.peers)
        for _ in range(3):
            setup.replicas.peers["b"].lose("connection refused")
            await until(lambda: not setup.replicas.peers["b"].closed)
        vars(setup.members)["_records"]["b"].failures = 100
        setup.replicas.peers["b"].lose("connection refused")
        assert setup.pause("b") == 1.0


async def test_a_replica_whose_calls_fail_beside_the_link_is_asked_after_a_while() -> None:
    """Uploads that fail, say: the link is well, and what it carries goes on."""
    async with finding("a", "b") as setup:
        peer = setup.replicas.peers["a"]
        peer.wire_failures = 3
        await until(lambda: setup.serving == {"b"})
        assert not peer.closed
        await until(lambda: bool(_pings(peer)))
        assert setup.serving == {"a", "b"}


def _pings(peer: ScriptedPeer) -> bool:
    pings = [frame for frame in peer.frames() if frame.kind == PING]
    for ping in pings:
        peer.arrive(pb.Frame(kind=pb.FRAME_KIND_PONG, id=ping.id))
    return bool(pings)


async def test_a_peer_that_leaves_is_lost_once() -> None:
    """However often it tells."""
    async with finding("a") as setup:
        peer = setup.replicas.peers["a"]
        setup.replicas.found.clear()
        peer.lose()
        peer.changed()
        await settle()
        assert setup.ended == ["a"] and setup.members.peers == []


def test_pauses_grow_up_to_a_bound() -> None:
    """Whatever the count."""
    assert [backoff(count, 0.1, 1.0) for count in (1, 2, 3, 4, 5, 5000)] == [
        *(0.1, 0.2, 0.4, 0.8, 1.0, 1.0)
    ]
