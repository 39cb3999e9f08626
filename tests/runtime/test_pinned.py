"""Calls for one replica: to that one, in order, and what becomes of them when it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from meshgen.errors import ActorDiedError, DeadlineError, NotServingError, UnavailableError
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode_arguments
from meshgen.runtime.peer import Peer
from meshgen.runtime.pinned import PinnedCalls
from meshgen.runtime.unarycall import UnaryCall
from meshgen.stub import DeploymentStub
from meshgen.tasks.places import ReplicaPlace
from meshgen.types import DeploymentID, RequestContext
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer
from tests.runtime.replicas import settle, until

STUB = DeploymentStub(id=DeploymentID("shop", "Cart"), service="cart")


@dataclass(eq=False)
class Pool:
    """Connections to scripted replicas."""

    stub: DeploymentStub = STUB
    peers: list[Peer] = field(default_factory=list)
    watched: bool = False

    def watch(self) -> None:
        """Asked to look."""
        self.watched = True


class Setup:
    """Pinned calls of a process, and a way to make some."""

    def __init__(self, patience: float = 5.0) -> None:
        self.pool = Pool()
        self.pinned = PinnedCalls(self.pool, patience=patience)
        self.here = Here()

    def replica(
        self, replica_id: str, phase: pb.ReplicaPhase = pb.REPLICA_PHASE_SERVING
    ) -> ScriptedPeer:
        """A connection to a replica that has told its state."""
        peer = ScriptedPeer(replica_id, lambda _: self.pinned.changed())
        peer.start()
        self.pool.peers.append(peer)
        peer.tell(pb.State(phase=phase, replica_id=replica_id, max_ongoing_requests=100))
        return peer

    def call(
        self, place: ReplicaPlace, *args: object, submit: bool = True, deadline: float | None = None
    ) -> tuple[UnaryCall, Reply]:
        """Make a call of what lives at a place."""
        reply = Reply()
        context = RequestContext(request_id="r", deadline=deadline)
        call = UnaryCall(STUB.id, "add", context, self.here, reply)
        call.arguments = encode_arguments((args, {}))
        reply.carrier = call
        self.pinned.queue_up(call, place)
        if submit:
            self.pinned.submit(call)
        return call, reply


@pytest.fixture
async def setup() -> AsyncIterator[Setup]:
    """With nothing left to do at the end."""
    made = Setup()
    yield made
    made.pinned.close(NotServingError("the test is over"))


def at(replica_id: str) -> ReplicaPlace:
    """A place that is known."""
    return ReplicaPlace.known("the actor", replica_id)


async def test_a_call_goes_to_its_replica(setup: Setup) -> None:
    """Whichever else has room."""
    other, home = setup.replica("0"), setup.replica("1")
    setup.call(at("1"))
    assert (other.take(), home.take()) == ([], [1])


async def test_calls_wait_until_the_place_is_known(setup: Setup) -> None:
    """Then they leave in their order."""
    home, reply = setup.replica("1"), Reply()
    place = ReplicaPlace("the actor", reply)
    calls = [setup.call(place)[0] for _ in range(3)]
    assert home.take() == []
    known = at("1").reply
    reply.resolve(known.payload, lambda _: "1")  # type: ignore[arg-type]  # it has one
    await settle()
    assert home.take() == [1, 2, 3]
    assert [call.line for call in calls] == [None, None, None]


async def test_a_place_that_there_will_not_be_fails_its_calls(setup: Setup) -> None:
    """As it failed itself; a replica that went away meanwhile took the actor along."""
    place = ReplicaPlace("the actor", Reply())
    _, failed = setup.call(place)
    place.reply.fail(KeyError("no such model"))
    await settle()
    with pytest.raises(KeyError, match="no such model"):
        failed.value()
    lost = ReplicaPlace("the actor", Reply())
    lost.reply.fail(UnavailableError("gone"))
    with pytest.raises(ActorDiedError, match="the actor was not made: gone"):
        setup.call(lost)[1].value()


async def test_a_call_that_is_not_ready_holds_back_those_after_it(setup: Setup) -> None:
    """Of its own place only; one that ends lets them go."""
    home, place = setup.replica("1"), at("1")
    first, _ = setup.call(place, submit=False)
    setup.call(place)
    setup.call(at("1"))
    assert home.take() == [1]
    setup.pinned.submit(first)
    assert home.take() == [2, 3]
    given_up, reply = setup.call(place, submit=False)
    setup.call(place)
    assert home.take() == []
    reply.cancel()
    assert home.take() == [4]
    assert given_up.is_over()


async def test_an_upload_holds_back_those_after_it(setup: Setup) -> None:
    """Until it has arrived."""
    home, place = setup.replica("1"), at("1")
    setup.call(place, bytes(INLINE_LIMIT + 1))
    setup.call(place)
    await until(lambda: len(home.uploads) == 1)
    assert home.take() == []
    home.uploads[0].set_result("payload")
    await until(lambda: home.session.in_flight == 2)
    assert home.take() == [1, 2]


async def test_a_replica_that_is_not_there_yet_is_waited_for(setup: Setup) -> None:
    """The call leaves when it tells that it serves."""
    place = at("1")
    setup.call(place)
    assert setup.pool.watched
    starting = setup.replica("1", pb.REPLICA_PHASE_STARTING)
    assert starting.take() == []
    starting.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, replica_id="1", max_ongoing_requests=1))
    assert starting.take() == [1]


async def test_a_replica_that_stays_away_took_the_actor_along() -> None:
    """After a while; the error names it."""
    setup = Setup(patience=0.02)
    _, reply = setup.call(at("1"))
    async with asyncio.timeout(5):
        with pytest.raises(ActorDiedError, match="the actor is lost: no replica 1 of shop/Cart"):
            await reply
    setup.pinned.close(NotServingError("over"))


async def test_what_was_sent_away_leaves_again_in_order(setup: Setup) -> None:
    """Before what came after it."""
    home, place = setup.replica("1"), at("1")
    made = [setup.call(place) for _ in range(3)]
    assert home.take() == [1, 2, 3]
    setup.pool.peers.clear()
    for call, _ in reversed(made[:2]):
        call.unsent()
        setup.pinned.again(call, home)
    setup.call(place)
    back = setup.replica("1")
    assert len(back.take()) == 3
    order = [call for call in back.session.calls.values()]
    assert order[:2] == [made[0][0], made[1][0]]


async def test_what_was_sent_away_and_given_up_stays_away(setup: Setup) -> None:
    """Nobody waits for it."""
    home, place = setup.replica("1"), at("1")
    call, reply = setup.call(place)
    reply.cancel()
    call.unsent()
    setup.pinned.again(call, home)
    assert call.line is None


async def test_a_deadline_ends_a_call_that_waits(setup: Setup) -> None:
    """And lets those after it go."""
    now = asyncio.get_running_loop().time()
    _, reply = setup.call(at("1"), deadline=now + 0.01)
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineError):
            await reply


async def test_closing_fails_what_waits_and_what_comes(setup: Setup) -> None:
    """The mesh is gone."""
    call, waiting = setup.call(at("1"))
    setup.pinned.close(NotServingError("shut down"))
    _, later = setup.call(at("1"))
    for reply in (waiting, later):
        with pytest.raises(NotServingError, match="shut down"):
            reply.value()


async def test_the_replicas_are_told_when_all_have_spoken(setup: Setup) -> None:
    """Those that take calls, in order."""
    setup.replica("1")
    silent = ScriptedPeer("0", lambda _: setup.pinned.changed())
    silent.start()
    setup.pool.peers.append(silent)
    asking = asyncio.create_task(setup.pinned.replica_ids())
    await settle()
    assert not asking.done()
    silent.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, replica_id="0", max_ongoing_requests=1))
    assert await asking == ["0", "1"]


async def test_no_replica_is_an_error() -> None:
    """After a while."""
    setup = Setup(patience=0.02)
    with pytest.raises(UnavailableError, match="no replica of shop/Cart took calls"):
        await setup.pinned.replica_ids()
