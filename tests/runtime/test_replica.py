"""One replica: which calls it takes, and how it leaves."""

from __future__ import annotations

import asyncio
import logging

import pytest

from meshgen.errors import NotServingError
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.frames import PROTOCOL_VERSION
from meshgen.runtime.host import LinkHost
from meshgen.runtime.network import MemoryNetwork
from meshgen.runtime.replica import Replica
from meshgen.serve.context import get_replica_context
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, mesh_caller, settle, spec_of

_HELLO = pb.Frame(
    kind=pb.FRAME_KIND_HELLO,
    hello=pb.Hello(protocol=PROTOCOL_VERSION, deployment="default/_Plain", caller="test"),
)


class _Plain:
    async def add(self, x: int) -> int:
        return x + 1


async def test_it_takes_as_many_calls_as_it_has_slots() -> None:
    """No more, and again once one is free."""
    async with lone_replica(_Plain, max_ongoing_requests=2) as replica:
        assert [replica.occupancy.admit() for _ in range(3)] == [True, True, False]
        replica.occupancy.release()
        assert replica.occupancy.admit() and replica.occupancy.ongoing == 2
        replica.occupancy.release()
        replica.occupancy.release()


async def test_it_takes_no_call_before_it_is_constructed() -> None:
    """Its callers are told when that is."""
    async with mesh_caller(MemoryNetwork()) as caller:
        replica = Replica(spec_of(_Plain, max_ongoing_requests=7), caller, "r")
        told: list[pb.State] = []
        replica.watch(told.append)
        assert not replica.occupancy.admit()
        await asyncio.create_task(replica.start(caller.find))
        assert replica.occupancy.admit()
        replica.occupancy.release()
        replica.unwatch(told.append)
        await replica.drain()
        assert [state.phase for state in told] == [
            pb.REPLICA_PHASE_STARTING,
            pb.REPLICA_PHASE_SERVING,
        ]
        assert (told[-1].replica_id, told[-1].max_ongoing_requests) == ("r", 7)
        await replica.close()


async def test_a_constructor_that_fails_is_raised() -> None:
    """As it is: whoever starts it tells the user."""

    class Broken:
        def __init__(self) -> None:
            raise ValueError("no model")

    async with mesh_caller(MemoryNetwork()) as caller:
        replica = Replica(spec_of(Broken), caller, "r")
        with pytest.raises(ValueError, match="no model"):
            await replica.start(caller.find)
        assert not replica.occupancy.admit()


async def test_outside_of_a_replica_there_is_none() -> None:
    """Its context stayed in its own tasks."""
    async with lone_replica(_Plain):
        with pytest.raises(NotServingError):
            get_replica_context()


async def test_a_failure_names_the_replica() -> None:
    """So that its log can be found."""
    async with lone_replica(_Plain) as replica:
        assert replica.failure(ValueError("x")).origin == "default/_Plain#0"


async def test_small_results_travel_inline_and_large_ones_are_kept() -> None:
    """Under an id to fetch them by."""
    async with lone_replica(_Plain) as replica:
        assert replica.outgoing(Payload(b"small")).pickle == b"small"
        large = Payload(bytes(INLINE_LIMIT + 1))
        payload_id = replica.outgoing(large).payload_id
        assert replica.keeps_any(["other", payload_id])
        async with replica.handing_out(payload_id) as payload:
            assert payload is large
        assert not replica.keeps_any([payload_id])


async def test_draining_waits_for_what_runs_and_for_what_is_to_be_fetched() -> None:
    """The last caller has its result before the replica goes."""
    async with lone_replica(_Plain) as replica:
        replica.occupancy.admit()
        draining = asyncio.create_task(replica.drain())
        await settle()
        assert not replica.occupancy.admit() and not draining.done()
        payload_id = replica.results.park(Payload(b"large"))
        replica.occupancy.release()
        await settle()
        assert not draining.done()
        async with replica.handing_out(payload_id):
            await settle()
            assert not draining.done()
        await draining


async def test_a_slot_that_was_offered_to_a_call_that_is_cancelled_goes_to_the_next() -> None:
    """Else both would wait for ever."""
    async with lone_replica(_Plain, max_ongoing_requests=1) as replica:
        replica.occupancy.admit()
        first, second = (asyncio.create_task(replica.occupancy.slot()) for _ in range(2))
        await settle()
        replica.occupancy.release()
        first.cancel()
        assert await asyncio.wait_for(second, 5)
        assert first.cancelled() and replica.occupancy.ongoing == 1
        replica.occupancy.release()


async def test_who_waits_for_a_slot_is_told_when_the_replica_leaves() -> None:
    """It gets none, not even the one that is free then."""
    async with lone_replica(_Plain, max_ongoing_requests=1) as replica:
        replica.occupancy.admit()
        waiting = asyncio.create_task(replica.occupancy.slot())
        await settle()
        draining = asyncio.create_task(replica.drain())
        assert not await asyncio.wait_for(waiting, 5)
        replica.occupancy.release()
        await draining


async def test_draining_waits_for_values_that_others_hold() -> None:
    """They are fetched or let go of by then, or the time is over."""
    async with lone_replica(_Plain) as replica:
        async with LinkHost(replica) as host:
            replica.values.put("v", Payload(b"N."))
            hold = pb.Frame(kind=pb.FRAME_KIND_HOLD, id=1, value_id="v")
            host.session.receive([_HELLO, hold])
            replica.values.release("v")
            draining = asyncio.create_task(replica.drain())
            await settle()
            assert not draining.done()
            hold.kind = pb.FRAME_KIND_RELEASE
            host.session.receive([hold])
            await asyncio.wait_for(draining, 5)


async def test_draining_does_not_wait_for_values_that_the_replica_itself_keeps() -> None:
    """As those that its own code has put: they end with it."""
    async with lone_replica(_Plain) as replica:
        async with LinkHost(replica) as host:
            replica.values.put("v", Payload(b"N."))
            hold = pb.Frame(kind=pb.FRAME_KIND_HOLD, id=1, value_id="v")
            host.session.receive([_HELLO, hold])
            draining = asyncio.create_task(replica.drain())
            await settle()
            hold.kind = pb.FRAME_KIND_RELEASE
            host.session.receive([hold])
            await asyncio.wait_for(draining, 5)
            assert "v" in replica.values


async def test_draining_does_not_wait_for_what_nobody_fetches() -> None:
    """A caller that is gone is not waited for, nor is a result whose time is over."""
    async with lone_replica(_Plain) as replica:
        replica.occupancy.admit()
        payload_id = replica.results.park(Payload(b"large"))
        replica.occupancy.release()
        draining = asyncio.create_task(replica.drain())
        await settle()
        replica.drop([payload_id])
        await asyncio.wait_for(draining, 5)


async def test_draining_gives_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """And says how many calls did not end."""
    async with lone_replica(_Plain, graceful_shutdown_timeout_s=0.01) as replica:
        replica.occupancy.admit()
        with caplog.at_level(logging.WARNING, "meshgen"):
            await replica.drain()
        assert "default/_Plain#0: 1 calls" in caplog.text and "0.01 s" in caplog.text
        replica.occupancy.release()


async def test_a_failing_del_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It does not keep the replica from leaving."""

    class Failing:
        def __del__(self) -> None:
            if not deleted:
                deleted.append(True)
                raise ValueError("cannot let go")

    deleted: list[bool] = []
    async with lone_replica(Failing):
        pass
    assert "default/Failing#0: __del__ failed" in caplog.text
    assert "cannot let go" in caplog.text
