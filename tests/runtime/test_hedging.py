"""A second copy of a call that takes long: the first outcome counts, the rest is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from meshgen.errors import ReplicaLostError
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode_failure
from meshgen.runtime.session import RESPONSE
from meshgen.types import CallPolicy
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer
from tests.runtime.replicas import settle, until
from tests.runtime.routes import IDEMPOTENT, Setup, routing

SOON = CallPolicy(idempotent=True, hedge_after_s=0.001)
LATE = CallPolicy(idempotent=True, hedge_after_s=1000.0)
CANCEL = pb.FRAME_KIND_CANCEL


class Hedged(Setup):
    """Two replicas, one of which has a call that takes long."""

    reply: Reply
    first: ScriptedPeer
    other: ScriptedPeer
    first_id: int
    copy_id: int

    def cancelled(self, peer: ScriptedPeer) -> list[int]:
        """The calls that a replica is told to end."""
        return [frame.id for frame in peer.frames() if frame.kind == CANCEL]


@asynccontextmanager
async def hedging(*args: object) -> AsyncIterator[Hedged]:
    """A call whose copy has left."""
    async with routing("a", "b") as plain:
        setup = Hedged(plain.router, plain.replicas, plain.here)
        setup.reply = setup.call(*args, policy=SOON)
        a, b = setup.replicas.peers["a"], setup.replicas.peers["b"]
        setup.first, setup.other = (a, b) if a.in_flight else (b, a)
        setup.first_id = setup.first.take_one()
        await until(lambda: setup.other.in_flight > 0)
        setup.copy_id = setup.other.take_one()
        yield setup


async def _its_time_is_over() -> None:
    """Any copy that was to leave has left."""
    loop = asyncio.get_running_loop()
    end = loop.time() + 0.01
    await until(lambda: loop.time() > end)


async def test_the_copy_may_be_first() -> None:
    """The call itself is ended then."""
    async with hedging("x") as setup:
        setup.other.answer(setup.copy_id, "copy")
        assert await setup.reply == "copy"
        assert setup.cancelled(setup.first) == [setup.first_id]
        assert setup.cancelled(setup.other) == []


async def test_the_call_itself_may_be_first() -> None:
    """The copy is ended then."""
    async with hedging() as setup:
        setup.first.answer(setup.first_id, "call")
        assert await setup.reply == "call"
        assert setup.cancelled(setup.other) == [setup.copy_id]


async def test_a_second_outcome_changes_nothing() -> None:
    """It was on its way when the other was told."""
    async with hedging() as setup:
        setup.other.answer(setup.copy_id, "copy")
        setup.first.answer(setup.first_id, "call")
        assert await setup.reply == "copy"
        assert setup.first.in_flight == setup.other.in_flight == 0


async def test_an_error_of_user_code_is_an_outcome() -> None:
    """Whichever brings it."""
    async with hedging() as setup:
        failure = encode_failure(KeyError("k"), "shop/Cart#1")
        frame = pb.Frame(kind=pb.FRAME_KIND_ERROR, id=setup.copy_id, failure=failure)
        setup.other.arrive(frame)
        with pytest.raises(KeyError):
            await setup.reply


async def test_a_copy_that_is_lost_or_refused_is_no_outcome() -> None:
    """The call goes on."""
    async with hedging() as setup:
        setup.other.refuse(setup.copy_id)
        setup.first.answer(setup.first_id, "call")
        assert await setup.reply == "call"
    async with hedging() as setup:
        setup.other.lose()
        setup.first.answer(setup.first_id, "call")
        assert await setup.reply == "call"


async def test_a_call_that_is_lost_waits_for_its_copy() -> None:
    """It need not be sent a third time."""
    async with hedging() as setup:
        setup.replicas.found.remove(setup.first.address)
        setup.first.lose()
        await settle()
        assert setup.other.take() == [] and not setup.reply.done
        setup.other.answer(setup.copy_id, "copy")
        assert await setup.reply == "copy"


async def test_a_call_that_is_lost_with_its_copy_is_sent_again() -> None:
    """As any idempotent one."""
    async with hedging() as setup:
        setup.replicas.found.clear()
        setup.first.lose()
        setup.other.lose()
        assert not setup.reply.done
        third = await setup.replicas.serve("c")
        third.answer(third.take_one(), "third")
        assert await setup.reply == "third"


async def test_cancelling_the_call_ends_its_copy() -> None:
    """Nobody waits for either."""
    async with hedging() as setup:
        setup.reply.cancel()
        assert setup.cancelled(setup.first) == [setup.first_id]
        assert setup.cancelled(setup.other) == [setup.copy_id]


async def test_cancelling_a_lost_call_ends_its_copy() -> None:
    """The copy is all that there is."""
    async with hedging() as setup:
        setup.replicas.found.remove(setup.first.address)
        setup.first.lose()
        setup.reply.cancel()
        assert setup.cancelled(setup.other) == [setup.copy_id]


async def test_large_results_stay_with_whoever_was_first() -> None:
    """The copy's replica keeps it for the caller, the other is told to drop its own."""
    async with hedging() as setup:
        payload = pb.Payload(payload_id="v")
        setup.other.arrive(pb.Frame(kind=RESPONSE, id=setup.copy_id, payload=payload))
        assert setup.reply.settled and setup.reply.token is not None
        assert setup.reply.token.address == setup.other.address
        assert setup.cancelled(setup.first) == [setup.first_id]


async def test_no_copy_is_sent_of_an_outcome_that_others_wait_for() -> None:
    """They were told of one replica."""
    async with hedging() as setup:
        assert setup.reply.carrier is not None
        setup.reply.carrier.keep(lambda: None)
        assert setup.cancelled(setup.other) == [setup.copy_id]
        setup.first.answer(setup.first_id, "call")
        assert await setup.reply == "call"


async def test_large_arguments_are_uploaded_to_both() -> None:
    """The copy is a call like any other."""
    async with routing("a", "b") as setup:
        reply = setup.call(bytes(INLINE_LIMIT), policy=SOON)
        peers = setup.replicas.peers.values()
        await until(lambda: any(peer.uploads for peer in peers))
        (first,) = [peer for peer in peers if peer.uploads]
        (other,) = [peer for peer in peers if not peer.uploads]
        first.uploads[0].set_result("1")
        await until(lambda: bool(other.uploads))
        other.uploads[0].set_result("2")
        await settle()
        other.answer(other.take_one(), "copy")
        assert await reply == "copy"


async def test_a_quick_call_has_no_copy() -> None:
    """Its timer goes with it."""
    async with routing("a", "b") as setup:
        reply = setup.call(policy=LATE)
        (at,) = [peer for peer in setup.replicas.peers.values() if peer.in_flight]
        at.answer(at.take_one(), "quick")
        assert await reply == "quick"
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        now = asyncio.get_running_loop().time()
        assert not [t for t in timers if t.when() > now + 500 and not t.cancelled()]


async def test_there_is_no_copy_where_there_is_no_other_replica() -> None:
    """Or none with room."""
    async with routing("a") as setup:
        reply = setup.call(policy=SOON)
        peer = setup.replicas.peers["a"]
        (call_id,) = peer.take()
        await _its_time_is_over()
        assert peer.take() == []
        peer.answer(call_id, "alone")
        assert await reply == "alone"


async def test_a_replica_that_is_there_later_gets_the_copy() -> None:
    """The call still takes long."""
    async with routing("a") as setup:
        reply = setup.call(policy=SOON)
        await _its_time_is_over()
        other = await setup.replicas.serve("b")
        await until(lambda: other.in_flight > 0)
        other.answer(other.take_one(), "copy")
        assert await reply == "copy"


async def test_copies_are_paid_from_the_budget_of_lost_calls() -> None:
    """A mesh that is slow as a whole does not get twice the load."""
    async with routing("a", "b") as setup:
        many = pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=100)
        for peer in setup.replicas.peers.values():
            peer.tell(many)
        for _ in range(20):
            setup.call(policy=SOON)
        peers = setup.replicas.peers.values()
        await until(lambda: sum(peer.in_flight for peer in peers) == 25)
        await _its_time_is_over()
        assert sum(peer.in_flight for peer in peers) == 25


async def test_without_a_delay_there_is_no_copy() -> None:
    """However long it takes: idempotent calls are sent again only when they are lost."""
    async with routing("a", "b") as setup:
        setup.call(policy=IDEMPOTENT)
        await _its_time_is_over()
        assert sum(peer.in_flight for peer in setup.replicas.peers.values()) == 1


async def test_closing_ends_a_call_and_its_copy() -> None:
    """Neither is sent again."""
    async with hedging() as setup:
        await setup.router.close()
        with pytest.raises(ReplicaLostError):
            await setup.reply
