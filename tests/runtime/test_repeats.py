"""Calls that may run twice: sent again when they are lost, and nothing else is."""

from __future__ import annotations

import asyncio
import time

import pytest

from meshgen.errors import DeadlineError, ReplicaLostError
from meshgen.objectref import ByValue, ObjectRef
from meshgen.reply import Reply
from meshgen.runtime.budget import MOST_ATTEMPTS
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.session import REQUEST, RESPONSE
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer
from tests.runtime.replicas import settle, until
from tests.runtime.routes import IDEMPOTENT, Setup, routing

MANY = pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=200)


def _lose(setup: Setup, address: str) -> None:
    """It dies, and does not come back."""
    setup.replicas.found.remove(address)
    setup.replicas.peers[address].lose("broken pipe")


def _large(peer: ScriptedPeer, call_id: int, value_id: str) -> None:
    payload = pb.Payload(payload_id=value_id)
    peer.arrive(pb.Frame(kind=RESPONSE, id=call_id, payload=payload))


async def test_an_idempotent_call_is_sent_again() -> None:
    """At once, to a replica that is left."""
    async with routing("a") as setup:
        reply = setup.call("x", policy=IDEMPOTENT)
        setup.replicas.peers["a"].take()
        other = await setup.replicas.serve("b")
        _lose(setup, "a")
        assert not reply.done
        other.answer(other.take_one(), "again")
        assert await reply == "again"


async def test_lost_calls_keep_their_order_and_come_before_new_ones() -> None:
    """Those that had left come first, as they were made first."""
    async with routing("a") as setup:
        peer = setup.replicas.peers["a"]
        replies = [setup.call(policy=IDEMPOTENT)]
        peer.take()
        replies += [setup.call(policy=IDEMPOTENT) for _ in range(3)]
        _lose(setup, "a")
        other = await setup.replicas.serve("b", MANY)
        for number, call_id in enumerate(other.take()):
            other.answer(call_id, str(number))
        assert [await reply for reply in replies] == ["0", "1", "2", "3"]


async def test_a_call_that_is_sent_again_keeps_its_deadline() -> None:
    """Time that it spent at the dead replica counts."""
    async with routing("a") as setup:
        reply = setup.call(policy=IDEMPOTENT, deadline=time.monotonic() + 0.05)
        setup.replicas.peers["a"].take()
        _lose(setup, "a")
        with pytest.raises(DeadlineError):
            await reply
        assert (await setup.replicas.serve("b")).take() == []


async def test_a_call_without_a_promise_is_not_sent_again() -> None:
    """The error says that it may have run."""
    async with routing("a", "b") as setup:
        replies = [setup.call() for _ in range(2)]
        setup.replicas.peers["a"].take()
        _lose(setup, "a")
        lost = [reply for reply in replies if reply.done]
        with pytest.raises(ReplicaLostError, match="may have run in part or in full"):
            await lost[0]
        assert len(lost) == 1


async def test_large_arguments_are_uploaded_again() -> None:
    """The dead replica has taken the first ones along."""
    async with routing("a") as setup:
        reply = setup.call(bytes(INLINE_LIMIT), policy=IDEMPOTENT)
        for address in ("a", "b"):
            peer = await setup.replicas.serve(address)
            await until(lambda peer=peer: bool(peer.uploads))  # type: ignore[misc]  # bound here
            peer.uploads[0].set_result(f"at {address}")
            await settle()
            (request,) = [frame for frame in peer.frames() if frame.kind == REQUEST]
            assert request.invocation.arguments.payload_id == f"at {address}"
            if address == "a":
                _lose(setup, "a")
        peer.answer(request.id, "b")
        assert await reply == "b"


async def test_an_outcome_that_others_want_is_kept_at_the_next_replica_too() -> None:
    """Its reference leads there."""
    async with routing("a") as setup:
        reply = setup.call(policy=IDEMPOTENT)
        assert reply.carrier is not None
        reply.carrier.keep(lambda: None)
        setup.replicas.peers["a"].take()
        _lose(setup, "a")
        other = await setup.replicas.serve("b")
        request, retain = other.frames()
        other.confirm(request.id)
        assert (retain.kind, retain.id) == (pb.FRAME_KIND_RETAIN, request.id)
        assert reply.token is not None
        assert (reply.token.address, reply.token.value_id) == ("b", retain.value_id)
        other.answer(request.id, "kept")
        assert await reply == "kept"


async def test_values_by_token_go_along_again() -> None:
    """They are where they were."""
    async with routing("a", "b") as setup:
        upstream = setup.call()
        where = next(peer for peer in setup.replicas.peers.values() if peer.in_flight)
        _large(where, where.take_one(), "v")
        reply = setup.call(ByValue(upstream), policy=IDEMPOTENT)
        tokens = []
        for _ in range(2):
            (at,) = [peer for peer in setup.replicas.peers.values() if peer.in_flight]
            (request,) = [frame for frame in at.frames() if frame.kind == REQUEST]
            (reference,) = request.invocation.arguments.references
            tokens.append((reference.address, reference.value_id))
            if at is where:
                break
            at.lose()
        assert set(tokens) == {(where.address, "v")} and not reply.done


async def test_a_call_that_kills_its_replicas_is_given_up() -> None:
    """However well all others go."""
    async with routing("a") as setup:
        reply = setup.call(policy=IDEMPOTENT)
        for attempt in range(MOST_ATTEMPTS):
            assert not reply.done
            address = f"{attempt}"
            if not attempt:
                address = "a"
            peer = await setup.replicas.serve(address)
            assert len(peer.take()) == 1
            peer.answers += 1000
            _lose(setup, address)
        with pytest.raises(ReplicaLostError):
            await reply


async def test_replicas_that_all_fail_get_no_calls_again() -> None:
    """After a few losses without an answer the budget is spent."""
    async with routing("a") as setup:
        _lose(setup, "a")
        replies: list[Reply] = []
        for number in range(12):
            replies.append(setup.call(policy=IDEMPOTENT))
            address = str(number)
            peer = await setup.replicas.serve(address)
            assert peer.take()
            _lose(setup, address)
        lost = [reply for reply in replies if reply.done]
        assert len(lost) >= 7


async def test_one_replica_with_many_calls_is_one_failure() -> None:
    """None of a hundred is lost with it."""
    async with routing() as setup:
        replies = [setup.call(policy=IDEMPOTENT) for _ in range(100)]
        peer = await setup.replicas.serve("a", MANY)
        assert len(peer.take()) == 100
        _lose(setup, "a")
        other = await setup.replicas.serve("b", MANY)
        for call_id in other.take():
            other.answer(call_id, "b")
        assert {await reply for reply in replies} == {"b"}


async def test_a_stream_is_never_sent_again() -> None:
    """Some of its items may have been seen."""
    async with routing("a", "b") as setup:
        items = setup.stream()
        (at,) = [peer for peer in setup.replicas.peers.values() if peer.in_flight]
        at.take()
        at.lose()
        with pytest.raises(ReplicaLostError):
            await items.next()


async def test_a_closed_router_sends_nothing_again() -> None:
    """Its calls end."""
    async with routing("a") as setup:
        reply = setup.call(policy=IDEMPOTENT)
        setup.replicas.peers["a"].take()
        await setup.router.close()
        with pytest.raises(ReplicaLostError):
            await asyncio.wait_for(_value(reply), 5)


async def _value(reply: Reply) -> object:
    return await reply


async def _upstream_at(setup: Setup, address: str, policy: object = IDEMPOTENT) -> Reply:
    """A large result that was left where it was made."""
    upstream = setup.call("x" * 10, policy=IDEMPOTENT if policy else None)
    peer = await setup.replicas.serve(address)
    _large(peer, peer.take_one(), "v")
    return upstream


async def test_a_large_result_that_died_is_made_again_for_who_awaits_it() -> None:
    """By the process that made the call; the value is fetched where it is then."""
    async with routing("a") as setup:
        upstream = await _upstream_at(setup, "a")
        _lose(setup, "a")
        other = await setup.replicas.serve("b")
        awaiting = asyncio.create_task(_value(upstream))
        await until(lambda: other.in_flight > 0)
        other.answer(other.take_one(), "again")
        assert await awaiting == "again"


async def test_a_large_result_that_died_is_made_again_for_who_takes_it() -> None:
    """Its consumer was not started: it is sent anew, whether it is idempotent or not."""
    async with routing("a") as setup:
        upstream = await _upstream_at(setup, "a")
        other = await setup.replicas.serve("b")
        setup.replicas.peers["a"].tell(pb.State(phase=pb.REPLICA_PHASE_FAILED))
        reply = setup.call(ByValue(upstream))
        (request,) = [frame for frame in other.frames() if frame.kind == REQUEST]
        _lose(setup, "a")
        failure = pb.Failure(kind=pb.FAILURE_KIND_LOST, message="gone")
        other.arrive(pb.Frame(kind=pb.FRAME_KIND_ERROR, id=request.id, failure=failure))
        await until(lambda: other.in_flight > 0)
        _large(other, other.take_one(), "w")
        await until(lambda: other.in_flight > 0)
        (request,) = [frame for frame in other.frames() if frame.kind == REQUEST]
        (reference,) = request.invocation.arguments.references
        assert (reference.address, reference.value_id) == ("b", "w")
        other.answer(request.id, "taken")
        assert await reply == "taken"
        assert upstream.token is not None and upstream.token.value_id == "w"


async def test_a_result_of_what_runs_once_only_is_lost_with_its_replica() -> None:
    """Its consumer is told."""
    async with routing("a") as setup:
        upstream = await _upstream_at(setup, "a", policy=None)
        other = await setup.replicas.serve("b")
        setup.replicas.peers["a"].tell(pb.State(phase=pb.REPLICA_PHASE_FAILED))
        reply = setup.call(ByValue(upstream))
        (request,) = [frame for frame in other.frames() if frame.kind == REQUEST]
        failure = pb.Failure(kind=pb.FAILURE_KIND_LOST, message="gone")
        other.arrive(pb.Frame(kind=pb.FRAME_KIND_ERROR, id=request.id, failure=failure))
        with pytest.raises(Exception, match="gone"):
            await reply
        assert other.in_flight == 0


async def test_a_value_that_is_still_there_is_not_made_again() -> None:
    """The consumer's replica could not reach it: calling the producer would not help."""
    async with routing("a") as setup:
        upstream = await _upstream_at(setup, "a")
        peer = setup.replicas.peers["a"]
        reply = setup.call(ByValue(upstream))
        (request,) = [frame for frame in peer.frames() if frame.kind == REQUEST]
        failure = pb.Failure(kind=pb.FAILURE_KIND_LOST, message="no route")
        peer.arrive(pb.Frame(kind=pb.FRAME_KIND_ERROR, id=request.id, failure=failure))
        await settle()
        (hold,) = peer.frames()
        assert (hold.kind, hold.value_id) == (pb.FRAME_KIND_HOLD, "v")
        peer.answer(hold.id)
        with pytest.raises(Exception, match="no route"):
            await reply
        assert peer.take() == []


async def test_what_makes_a_value_again_does_not_keep_it() -> None:
    """Who lets go of the last response releases the value, without a collection."""
    async with routing("a") as setup:
        upstream = await _upstream_at(setup, "a")
        peer = setup.replicas.peers["a"]
        assert peer.held == 1
        ref: ObjectRef[object] = ObjectRef(upstream)
        del upstream, ref
        await until(lambda: peer.held == 0)
        assert [frame.value_id for frame in peer.frames()] == ["v"]


async def test_a_call_whose_reference_moves_during_its_upload_waits_for_where_that_goes() -> None:
    """Its large arguments were on their way when the call that it refers to was lost."""
    async with routing("a") as setup:
        upstream = setup.call(policy=IDEMPOTENT)
        first = setup.replicas.peers["a"]
        other = await setup.replicas.serve("b")
        reply = setup.call([ObjectRef(upstream)], bytes(INLINE_LIMIT))
        first.confirm(first.take_one())
        await until(lambda: len(other.uploads) == 1)
        _lose(setup, "a")
        other.uploads[0].set_result("p")
        again = other.take_one()
        await settle()
        assert not reply.done and other.take() == []
        other.confirm(again)
        await until(lambda: len(other.uploads) == 2)
        other.uploads[1].set_result("q")
        await settle()
        other.answer(other.take_one(), "in the end")
        assert await reply == "in the end"
