"""Whom a call is sent to, when it waits, and what becomes of it when a replica goes."""

from __future__ import annotations

import asyncio
import time

import pytest

from meshgen.errors import (
    BackPressureError,
    DeadlineError,
    MeshError,
    NotServingError,
    ProtocolError,
    ReplicaLostError,
    UnavailableError,
)
from meshgen.reply import Reply
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer
from tests.runtime.replicas import settle, until
from tests.runtime.routes import routing

# After so many refusals a replica is left alone for 0.1 s, which no test takes to look on.
MANY = 9


async def _error(reply: Reply) -> Exception:
    try:
        await reply
    except Exception as exc:
        return exc
    raise AssertionError("the call succeeded")


async def test_calls_are_shared_evenly() -> None:
    """By what each replica has in flight, which makes up for chance."""
    async with routing("a", "b") as setup:
        replies = [setup.call(n) for n in range(4)]
        peers = setup.replicas.peers.values()
        taken = {peer.address: peer.take() for peer in peers}
        assert [len(ids) for ids in taken.values()] == [2, 2]
        for peer in peers:
            for call_id in taken[peer.address]:
                peer.answer(call_id)
        await asyncio.gather(*(_value(reply) for reply in replies))


async def _value(reply: Reply) -> object:
    return await reply


async def test_nobody_looks_for_replicas_before_the_first_call() -> None:
    """A handle that is never used costs nothing."""
    async with routing() as setup:
        await settle()
        assert setup.replicas.looks == 0


async def test_calls_wait_for_the_first_replica() -> None:
    """And go to it in the order they were made."""
    async with routing() as setup:
        replies = [setup.call(n) for n in range(2)]
        peer = await setup.replicas.serve("a")
        for call_id, text in zip(peer.take(), "xy", strict=True):
            peer.answer(call_id, text)
        assert [await reply for reply in replies] == ["x", "y"]


async def test_a_replica_that_came_later_gets_its_share() -> None:
    """It is found while the others are serving."""
    async with routing("a") as setup:
        for n in range(3):
            setup.call(n)
        late = await setup.replicas.serve("b")
        assert len(setup.replicas.peers["a"].take()) == 2
        assert len(late.take()) == 1


async def test_no_replica_gets_more_than_it_takes() -> None:
    """What is beyond waits, first come first served."""
    async with routing("a") as setup:
        replies = [setup.call(n) for n in range(5)]
        peer = setup.replicas.peers["a"]
        order: list[int] = []
        while ids := peer.take():
            assert len(ids) <= 2
            order += ids
            peer.answer(ids[0], str(len(order)))
            for call_id in ids[1:]:
                peer.answer(call_id, str(len(order)))
        assert order == sorted(order)
        assert all(reply.done for reply in replies)


async def test_a_refused_call_goes_to_another_replica() -> None:
    """The one that refused is left alone for a moment."""
    async with routing("a", "b") as setup:
        reply = setup.call()
        first, second = setup.replicas.peers["a"], setup.replicas.peers["b"]
        if not (ids := first.take()):
            first, second = second, first
            ids = first.take()
        first.refusals = MANY
        first.refuse(ids[0])
        assert first.take() == []
        second.answer(second.take_one(), "elsewhere")
        assert await reply == "elsewhere"


async def test_a_refused_call_waits_when_there_is_no_other_replica() -> None:
    """It is sent again after a back-off, before calls that came later."""
    async with routing("a") as setup:
        first = setup.call()
        peer = setup.replicas.peers["a"]
        peer.refusals = MANY
        peer.refuse(peer.take_one())
        second = setup.call()
        assert peer.take() == []
        for call_id, text in zip(await peer.sent(), "12", strict=True):
            peer.answer(call_id, text)
        assert (await first, await second) == ("1", "2")


async def test_a_full_replica_is_not_asked_over_and_over() -> None:
    """Each refusal in a row makes the next wait longer."""
    async with routing("a") as setup:
        setup.call()
        peer = setup.replicas.peers["a"]
        for wait in (0.005, 0.01, 0.02, 0.04, 0.08, 0.1):
            (call_id,) = await peer.sent()
            before = time.monotonic()
            peer.refuse(call_id)
            assert before + wait <= peer.busy_until <= time.monotonic() + wait


async def test_waiting_for_a_full_replica_costs_nothing() -> None:
    """Its answer wakes the queue; until then nobody asks whether it has room."""

    class Counting(ScriptedPeer):
        asked = 0

        def has_room(self) -> bool:
            Counting.asked += 1
            return super().has_room()

    async with routing() as setup:
        setup.replicas.kind = Counting
        for n in range(5):
            setup.call(n)
        peer = await setup.replicas.serve("a")
        first, second = peer.take()
        # Another process has its other slot: two of ours do not fit any more.
        peer.refuse(second)
        await until(lambda: peer.in_flight == 2)
        assert peer.refusals and first
        setup.call("one more")
        before = Counting.asked
        await settle(200)
        assert Counting.asked - before < 20


async def test_too_many_waiting_calls_are_refused_at_once() -> None:
    """The message says how many wait and what the bound is."""
    async with routing("a", max_queued=2) as setup:
        for n in range(4):
            setup.call(n)
        reply = setup.call()
        assert reply.done
        with pytest.raises(BackPressureError, match=r"shop/Cart already has 2 .* is 2"):
            await reply


async def test_a_slot_that_is_free_again_takes_a_queued_call() -> None:
    """Then there is room in the queue as well."""
    async with routing("a", max_queued=1) as setup:
        peer = setup.replicas.peers["a"]
        for n in range(3):
            setup.call(n)
        peer.answer(peer.take()[0])
        assert not setup.call().done
        assert setup.call().done


async def test_a_deadline_ends_a_call_that_waits() -> None:
    """No replica needs to be there."""
    async with routing() as setup:
        reply = setup.call(deadline=time.monotonic() + 0.01)
        with pytest.raises(DeadlineError, match="shop/Cart gave no result before"):
            await reply
        peer = await setup.replicas.serve("a")
        assert peer.take() == []


async def test_a_deadline_ends_a_call_that_runs() -> None:
    """The replica is told."""
    async with routing("a") as setup:
        reply = setup.call(deadline=time.monotonic() + 0.01)
        peer = setup.replicas.peers["a"]
        (call_id,) = peer.take()
        assert isinstance(await _error(reply), DeadlineError)
        message = peer.session.outbox.take()
        assert message is not None
        assert [(frame.kind, frame.id) for frame in message.frames] == [
            (pb.FRAME_KIND_CANCEL, call_id)
        ]


async def test_a_deadline_that_is_over_leaves_no_timer() -> None:
    """A call that failed early is not kept until its deadline."""
    async with routing("a", max_queued=1) as setup:
        for n in range(3):
            setup.call(n)
        setup.call(deadline=time.monotonic() + 1000)
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert not [t for t in timers if t.when() > time.monotonic() + 500 and not t.cancelled()]


async def test_a_queued_call_that_is_cancelled_leaves_the_queue() -> None:
    """It never reaches a replica, and makes room for another."""
    async with routing(max_queued=1) as setup:
        reply = setup.call("cancelled")
        reply.cancel()
        kept = setup.call("kept")
        assert not kept.done
        peer = await setup.replicas.serve("a")
        assert len(peer.take()) == 1


async def test_cancelling_one_of_two_equal_calls_leaves_the_other() -> None:
    """Calls that ask for the same thing within one request are still two calls."""
    async with routing() as setup:
        kept, cancelled = setup.call(1), setup.call(1)
        cancelled.cancel()
        peer = await setup.replicas.serve("a")
        peer.answer(peer.take_one(), "kept")
        assert await asyncio.wait_for(_value(kept), 5) == "kept"


async def test_what_never_left_goes_to_another_replica_in_order() -> None:
    """The connection ended before the frames did."""
    async with routing("a") as setup:
        replies = [setup.call(n) for n in range(2)]
        setup.replicas.found.remove("a")
        setup.replicas.peers["a"].lose()
        assert not any(reply.done for reply in replies)
        peer = await setup.replicas.serve("b")
        for call_id, text in zip(peer.take(), "01", strict=True):
            peer.answer(call_id, text)
        assert [await reply for reply in replies] == ["0", "1"]


async def test_what_was_sent_is_lost_with_its_replica() -> None:
    """It may have run: nobody but its caller can say whether to run it again."""
    async with routing("a") as setup:
        reply = setup.call()
        setup.replicas.peers["a"].take()
        setup.replicas.peers["a"].lose()
        with pytest.raises(ReplicaLostError, match="shop/Cart ended while it ran the call"):
            await reply


async def test_a_stream_that_was_sent_is_lost_with_its_replica() -> None:
    """Before its first items as well."""
    async with routing("a") as setup:
        items = setup.stream()
        setup.replicas.peers["a"].take()
        setup.replicas.peers["a"].lose()
        with pytest.raises(ReplicaLostError):
            await items.next()


async def test_a_stream_that_never_left_goes_elsewhere() -> None:
    """As other calls do."""
    async with routing("a") as setup:
        items = setup.stream()
        setup.replicas.found.remove("a")
        setup.replicas.peers["a"].lose()
        peer = await setup.replicas.serve("b")
        assert not items.ended and len(peer.take()) == 1


async def test_a_call_whose_arguments_were_on_their_way_goes_elsewhere() -> None:
    """It had not started: its frame follows the arguments."""
    async with routing("a") as setup:
        reply = setup.call(bytes(INLINE_LIMIT))
        await until(lambda: bool(setup.replicas.peers["a"].uploads))
        setup.replicas.found.remove("a")
        setup.replicas.peers["a"].lose()
        peer = await setup.replicas.serve("b")
        await until(lambda: bool(peer.uploads))
        assert not reply.done
        peer.uploads[0].set_result("p")
        await settle()
        peer.answer(peer.take_one(), "b")
        assert await reply == "b"


async def test_arguments_that_cannot_be_uploaded_fail_the_call() -> None:
    """Trying elsewhere would not help."""
    async with routing("a") as setup:
        reply = setup.call(bytes(INLINE_LIMIT))
        peer = setup.replicas.peers["a"]
        await until(lambda: bool(peer.uploads))
        peer.uploads[0].set_exception(ProtocolError("no room"))
        with pytest.raises(ProtocolError, match="no room"):
            await reply
        await settle()
        assert peer.in_flight == 0


async def test_arguments_that_a_gone_replica_did_not_get_go_elsewhere() -> None:
    """A failed upload is no failed call; a cancelled one stays cancelled."""
    async with routing("a") as setup:
        reply = setup.call(bytes(INLINE_LIMIT))
        peer = setup.replicas.peers["a"]
        await until(lambda: len(peer.uploads) == 1)
        peer.uploads[0].set_exception(ReplicaLostError("gone"))
        await until(lambda: len(peer.uploads) == 2)
        reply.cancel()
        await until(lambda: peer.in_flight == 0)
        assert peer.uploads[1].cancelled() and peer.take() == []


async def test_calls_go_to_the_replicas_that_fit() -> None:
    """One that refuses this process's methods is passed over as one that fails."""
    async with routing("a", "b") as setup:
        for _ in range(3):
            await until(lambda: not setup.replicas.peers["a"].closed)
            setup.replicas.peers["a"].lose("driver knows Cart.add, but there is no add")
            reply = setup.call()
            peer = setup.replicas.peers["b"]
            peer.answer(peer.take_one(), "b")
            assert await reply == "b"


async def test_what_was_refused_together_is_one_refusal() -> None:
    """A full replica is asked again soon, whatever it had been offered."""
    async with routing("a") as setup:
        peer = setup.replicas.peers["a"]
        peer.tell(pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=50))
        for n in range(50):
            setup.call(n)
        peer.refusals = MANY
        for call_id in peer.take():
            peer.refuse(call_id)
        assert peer.refusals == MANY + 1
        assert len(await peer.sent()) == 50


async def test_a_replica_that_has_room_again_gets_calls_at_once() -> None:
    """It tells those that it refused: their back-off is over then."""
    async with routing("a") as setup:
        peer = setup.replicas.peers["a"]
        state = pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=2)
        setup.call()
        peer.refusals = MANY
        peer.refuse(peer.take_one())
        peer.busy_until = time.monotonic() + 100
        peer.session.ongoing = 2
        peer.tell(state)
        assert peer.take() == []
        peer.session.ongoing = 1
        peer.tell(state)
        assert len(peer.take()) == 1


async def test_a_session_goes_to_its_replica() -> None:
    """Whatever the load there, as long as it has room."""
    async with routing("a", "b", "c") as setup:
        replies = [setup.call(session="s") for _ in range(3)]
        assert sorted(len(peer.take()) for peer in setup.replicas.peers.values()) == [0, 1, 2]
        assert not any(reply.done for reply in replies)


async def test_a_lost_replica_is_connected_to_again() -> None:
    """After a back-off: it may be starting anew."""
    async with routing("a") as setup:
        setup.replicas.peers["a"].lose()
        reply = setup.call()
        peer = await setup.replicas.serve("a")
        peer.answer(peer.take_one(), "again")
        assert await reply == "again"
        assert setup.replicas.connected == ["a", "a"]


async def test_a_replica_that_drains_gets_no_new_calls() -> None:
    """What it has is finished; its end of the link is told when that is so."""
    async with routing("a") as setup:
        peer = setup.replicas.peers["a"]
        running = setup.call()
        (call_id,) = peer.take()
        peer.tell(pb.State(phase=pb.REPLICA_PHASE_DRAINING))
        waiting = setup.call()
        assert peer.take() == [] and not waiting.done
        peer.answer(call_id, "finished")
        assert await running == "finished"
        assert await peer.session.outbox.next() is None


async def test_no_replica_within_patience_is_an_error_that_says_why() -> None:
    """It names the deployment and what went wrong the last time."""
    async with routing(patience=0.02) as setup:
        reply = setup.call()
        setup.replicas.found.append("a")
        await until(lambda: "a" in setup.replicas.peers)
        setup.replicas.peers["a"].lose("connection to a refused")
        with pytest.raises(
            UnavailableError,
            match=r"no replica of shop/Cart took calls for 0.02 s: connection to a refused",
        ):
            await reply


async def test_patience_begins_anew_after_a_replica_served() -> None:
    """A quiet hour before a call is not held against it."""
    # Much longer than this process stands still between its last look and the call.
    async with routing("a", patience=0.5) as setup:
        setup.replicas.found.clear()
        setup.replicas.peers["a"].lose()
        started = time.monotonic()
        assert isinstance(await _error(setup.call()), UnavailableError)
        assert time.monotonic() - started > 0.05


async def test_a_replica_that_breaks_every_link_ends_in_an_error() -> None:
    """It says that it serves, and is gone before a call has left, again and again."""
    async with routing(patience=0.2) as setup:
        reply = setup.call()
        while not reply.done:
            peer = await setup.replicas.serve("a")
            peer.lose("broken pipe")
            await until(lambda: reply.done or not setup.replicas.peers["a"].closed)
        with pytest.raises(UnavailableError, match="broken pipe"):
            await reply


async def test_a_resolver_that_fails_is_asked_again() -> None:
    """The process may be short of file handles for a while."""
    async with routing() as setup:
        setup.replicas.broken = True
        reply = setup.call()
        await until(lambda: setup.replicas.looks > 2)
        setup.replicas.broken = False
        peer = await setup.replicas.serve("a")
        peer.answer(peer.take_one(), "found")
        assert await reply == "found"


async def test_what_a_failing_resolver_said_is_told() -> None:
    """It is the reason why nobody was found."""
    async with routing(patience=0.02) as setup:
        setup.replicas.broken = True
        with pytest.raises(UnavailableError, match="too many open files"):
            await setup.call()


async def test_closing_fails_every_call() -> None:
    """Those that wait, those that run, those whose frames or arguments have not left."""
    async with routing("a") as setup:
        sent = setup.call()
        peer = setup.replicas.peers["a"]
        peer.take()
        uploading = setup.call(bytes(INLINE_LIMIT))
        await until(lambda: bool(peer.uploads))
        waiting = setup.call()
        unsent = setup.stream()
        await setup.router.close()
        assert isinstance(await _error(sent), MeshError)
        for reply in (uploading, waiting):
            assert isinstance(await _error(reply), NotServingError)
        with pytest.raises(NotServingError):
            await unsent.next()


async def test_a_call_after_closing_is_refused() -> None:
    """The message says that the mesh was shut down."""
    async with routing() as setup:
        await setup.router.close()
        with pytest.raises(NotServingError, match="shop/Cart belongs to was shut down"):
            await setup.call()


async def test_calls_that_a_closed_router_had_sent_but_not_left_fail() -> None:
    """A frame that is still queued counts as not sent."""
    async with routing("a") as setup:
        unsent = setup.call()
        await setup.router.close()
        assert isinstance(await asyncio.wait_for(_error(unsent), 5), NotServingError)


async def test_replicas_that_are_gone_are_forgotten() -> None:
    """Addresses come and go for as long as a process lives."""
    async with routing("a") as setup:
        for number in range(5):
            setup.replicas.found = [str(number)]
            await setup.replicas.serve(str(number))
            setup.replicas.peers[str(number)].lose()
        setup.replicas.found = []
        looks = setup.replicas.looks
        await until(lambda: setup.replicas.looks > looks + 1)
        assert vars(setup.router.members)["_records"] == {}
