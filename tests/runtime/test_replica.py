"""One replica: which calls it takes, in which context, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshgen.errors import NotServingError, ProtocolError, SerializationError, UnknownMethodError
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.network import MemoryNetwork
from meshgen.runtime.replica import Replica
from meshgen.serve.context import current_request, get_replica_context
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica, mesh_caller, settle, spec_of


class _Plain:
    async def add(self, x: int) -> int:
        return x + 1

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def where(self) -> Any:
        context, request = get_replica_context(), current_request.get()
        assert request is not None
        return context.app_name, context.deployment, context.replica_id, request.request_id

    def where_in_thread(self) -> str:
        return get_replica_context().replica_tag


def _invocation(method: str, *args: Any) -> pb.Invocation:
    return pb.Invocation(
        method=method,
        arguments=pb.Payload(pickle=pickle.dumps((args, {}))),
        context=pb.Context(request_id="r1"),
    )


def _value(payload: Payload) -> Any:
    return pickle.loads(payload.pickle, buffers=payload.buffers)


async def _run(replica: Replica, method: str, *args: Any) -> Any:
    return _value(await replica.call(_invocation(method, *args)))


async def test_it_takes_as_many_calls_as_it_has_slots() -> None:
    """No more, and again once one is free."""
    async with lone_replica(_Plain, max_ongoing_requests=2) as replica:
        assert [replica.admit() for _ in range(3)] == [True, True, False]
        replica.release()
        assert replica.admit() and replica.ongoing == 2
        replica.release()
        replica.release()


async def test_it_takes_no_call_before_it_is_constructed() -> None:
    """Its callers are told when that is."""
    async with mesh_caller(MemoryNetwork()) as caller:
        replica = Replica(spec_of(_Plain, max_ongoing_requests=7), caller, "r")
        told: list[pb.State] = []
        replica.watch(told.append)
        assert not replica.admit()
        await asyncio.create_task(replica.start(caller.find))
        assert replica.admit()
        replica.release()
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
        assert not replica.admit()


async def test_user_code_knows_where_it_runs() -> None:
    """Which replica, and which request."""
    async with lone_replica(_Plain) as replica:
        replica.enter_context()
        assert await _run(replica, "where") == ("default", "_Plain", "0", "r1")
        assert await _run(replica, "where_in_thread") == "0"


async def test_outside_of_a_replica_there_is_none() -> None:
    """Its context stayed in its own tasks."""
    async with lone_replica(_Plain):
        with pytest.raises(NotServingError):
            get_replica_context()


async def test_calls_run_and_streams_are_iterated() -> None:
    """Results and items come pickled."""
    async with lone_replica(_Plain) as replica:
        assert await _run(replica, "add", 4) == 5
        stream = replica.stream(_invocation("count", 3))
        assert [_value(item) async for item in stream] == [0, 1, 2]


async def test_a_call_that_cannot_be_read_is_an_error_of_that_call() -> None:
    """Unknown methods, broken pickles, uploads that never came."""
    async with lone_replica(_Plain) as replica:
        with pytest.raises(UnknownMethodError, match="default/_Plain has no method 'sub'"):
            await _run(replica, "sub")
        broken = pb.Invocation(method="add", arguments=pb.Payload(pickle=b"no pickle"))
        with pytest.raises(SerializationError):
            await replica.call(broken)
        missing = pb.Invocation(method="add", arguments=pb.Payload(payload_id="p"))
        with pytest.raises(ProtocolError, match="no payload p"):
            await replica.call(missing)


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
        with replica.handing_out(payload_id) as payload:
            assert payload is large
        assert not replica.keeps_any([payload_id])


async def test_draining_waits_for_what_runs_and_for_what_is_to_be_fetched() -> None:
    """The last caller has its result before the replica goes."""
    async with lone_replica(_Plain) as replica:
        replica.admit()
        draining = asyncio.create_task(replica.drain())
        await settle()
        assert not replica.admit() and not draining.done()
        payload_id = replica.results.park(Payload(b"large"))
        replica.release()
        await settle()
        assert not draining.done()
        with replica.handing_out(payload_id):
            await settle()
            assert not draining.done()
        await draining


async def test_draining_does_not_wait_for_what_nobody_fetches() -> None:
    """A caller that is gone is not waited for, nor is a result whose time is over."""
    async with lone_replica(_Plain) as replica:
        replica.admit()
        payload_id = replica.results.park(Payload(b"large"))
        replica.release()
        draining = asyncio.create_task(replica.drain())
        await settle()
        replica.drop([payload_id])
        await asyncio.wait_for(draining, 5)


async def test_draining_gives_up_in_time(caplog: pytest.LogCaptureFixture) -> None:
    """And says how many calls did not end."""
    async with lone_replica(_Plain, graceful_shutdown_timeout_s=0.01) as replica:
        replica.admit()
        with caplog.at_level(logging.WARNING, "meshgen"):
            await replica.drain()
        assert "default/_Plain#0: 1 calls did not end within 0.01 s" in caplog.text
        replica.release()


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
