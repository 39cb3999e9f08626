"""One caller's link at a replica: tasks come and go with its calls."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.codec import encode, encode_failure
from meshgen.runtime.host import answer_stream
from meshgen.runtime.pump import ItemPump
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hosts import Worker, answers, cancel, hosted, in_mesh, passing, request
from tests.runtime.replicas import lone_replica, settle, until


async def test_every_request_has_one_answer() -> None:
    """A whole message of them, taken in slices."""
    async with hosted(max_ongoing_requests=100) as (host, replica, _):
        await host.receive([request(n, "add", n) for n in range(1, 101)])
        found = await answers(host, 100)
        assert {f.id: pickle.loads(f.payload.pickle) for f in found} == {
            n: n + 1 for n in range(1, 101)
        }
        assert replica.occupancy.ongoing == 0


async def test_what_finds_no_slot_is_sent_away() -> None:
    """At once, and without running it."""
    async with hosted(max_ongoing_requests=1) as (host, _, worker):
        await host.receive([request(1, "wait"), request(2, "add", 1)])
        (answer,) = await answers(host, 1)
        assert (answer.id, answer.kind) == (2, pb.FRAME_KIND_BUSY)
        worker.go_on.set()
        (answer,) = await answers(host, 1)
        assert (answer.id, answer.kind) == (1, RESPONSE)
        assert "add 1" not in worker.log


async def test_a_caller_that_was_sent_away_is_told_when_there_is_room() -> None:
    """Once, by the state: it need not ask again and again."""
    async with hosted(max_ongoing_requests=1) as (host, replica, worker):
        await host.receive([request(1, "wait"), request(2, "add", 1), request(3, "add", 1)])
        await answers(host, 2)
        worker.go_on.set()
        message = await host.session.outbox.next()
        assert message is not None
        assert [frame.kind for frame in message.frames] == [RESPONSE, pb.FRAME_KIND_STATE]
        assert replica.occupancy.ongoing == 0
        await host.receive([request(4, "add", 1)])
        message = await host.session.outbox.next()
        assert message is not None
        assert [frame.kind for frame in message.frames] == [RESPONSE]


async def test_a_lost_value_is_no_reason_to_run_a_call_again_that_has_run() -> None:
    """The error is the user's own then: only a call that never started may be made anew."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "miss")])
        (answer,) = await answers(host, 1)
        assert answer.failure.kind == pb.FAILURE_KIND_CALL


async def test_a_call_that_is_cancelled_before_it_began_never_runs() -> None:
    """Its slot is free nevertheless."""
    async with hosted() as (host, replica, worker):
        host.session.receive([request(1, "wait"), cancel(1)])
        (answer,) = await answers(host, 1)
        assert answer.failure.kind == pb.FAILURE_KIND_CANCELLED
        await settle()
        assert worker.log == [] and replica.occupancy.ongoing == 0


async def test_uploaded_arguments_of_a_call_that_never_runs_are_let_go() -> None:
    """It was cancelled before it could take them."""
    async with hosted() as (host, replica, _):
        call = request(1, "add")
        call.invocation.arguments.payload_id = replica.uploads.park(Payload(b"large"))
        host.session.receive([call, cancel(1)])
        await answers(host, 1)
        assert len(replica.uploads) == 0


async def test_a_cancelled_call_keeps_its_slot_while_it_cleans_up() -> None:
    """And is not interrupted by a second CANCEL, or by the end of the link."""
    async with hosted() as (host, replica, worker):
        await host.receive([request(1, "wait")])
        await settle()
        host.session.receive([cancel(1)])
        await asyncio.sleep(0)
        assert replica.occupancy.ongoing == 1
        host.session.receive([cancel(1)])
    assert worker.log == ["began", "cleaned up"]


async def test_the_end_of_the_link_ends_its_calls() -> None:
    """And waits for them."""
    async with hosted() as (host, _, worker):
        await host.receive([request(1, "wait"), request(2, "endless", stream=True)])
        await settle()
    assert set(worker.log) == {"began", "cleaned up", "closed"}


async def test_a_short_stream_ends_with_its_first_items() -> None:
    """One frame, and nothing to come back for."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, "items", 3, 1, stream=True)])
        (answer,) = await answers(host, 1)
        assert len(answer.items) == 3 and not answer.stream_id
        assert replica.occupancy.ongoing == 0


async def test_the_rest_of_a_stream_waits_for_its_caller() -> None:
    """However long it takes, it keeps its slot."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, "items", 3000, 1, stream=True)])
        (answer,) = await answers(host, 1)
        pump = replica.streams.take(answer.stream_id)
        found = len(answer.items)
        assert replica.occupancy.ongoing == 1
        async for message in answer_stream(replica, pump):
            found += len(message.items)
        assert found == 3000 and replica.occupancy.ongoing == 0


async def test_large_first_items_wait_for_their_caller() -> None:
    """However long it takes until somebody asks for the first one."""
    async with hosted() as (host, replica, _):
        replica.results.keep_seconds = 0.0
        await host.receive([request(1, "items", 1, INLINE_LIMIT, stream=True)])
        (answer,) = await answers(host, 1)
        replica.results.park(Payload(b"forgotten by now"))
        await until(lambda: len(replica.results) == 1)
        assert answer.items[0].payload_id in replica.results


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("method", ["no_such_method", "endless"])
async def test_a_slot_comes_back_whenever_a_stream_is_cancelled(method: str, turns: int) -> None:
    """Also in the moment in which it fails."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, method, stream=True)])
        await settle(turns)
        await host.receive([cancel(1)])
        await until(lambda: replica.occupancy.ongoing == 0, seconds=2)


async def test_a_stream_that_nobody_reads_on_is_closed() -> None:
    """By a CANCEL, although its call was answered."""
    async with hosted() as (host, replica, worker):
        await host.receive([request(1, "endless", stream=True)])
        (answer,) = await answers(host, 1)
        assert answer.stream_id in replica.streams
        await host.receive([cancel(1)])
        await until(lambda: replica.occupancy.ongoing == 0)
        assert worker.log == ["closed"]


async def test_uploaded_arguments_wait_as_long_as_their_call_does() -> None:
    """For values, or a slot: longer than for a call that never comes."""
    async with in_mesh() as (host, replica, _):
        replica.uploads.keep_seconds = 0.01
        replica.values.expect("v")
        call = passing(1, "add", "v")
        arguments = call.invocation.arguments
        replica.uploads.put("upload", Payload(arguments.pickle))
        arguments.pickle, arguments.payload_id = b"", "upload"
        await host.receive([call])
        replica.uploads.put("unused", Payload(b""))
        await until(lambda: "unused" not in replica.uploads)
        replica.values.put("v", encode(5))
        (answer,) = await answers(host, 1)
        assert answer.kind == RESPONSE and len(replica.uploads) == 0
        replica.values.release("v")


@pytest.mark.parametrize("how", ["cancel", "end of the link"])
@pytest.mark.parametrize("stream", [False, True])
async def test_large_results_that_nobody_fetches_are_let_go(how: str, stream: bool) -> None:
    """At once, and not only with time."""
    async with hosted() as (host, replica, _):
        method = request(1, "items", 2, INLINE_LIMIT + 1, stream=True)
        await host.receive([method if stream else request(1, "large")])
        (answer,) = await answers(host, 1)
        # Of a stream's two, the first may have left alone.
        assert len(replica.results) + len(replica.values) in ((1, 2) if stream else (1,))
        if how == "cancel":
            await host.receive([cancel(1)])
            assert len(replica.results) == len(replica.values) == 0
    assert len(replica.results) == len(replica.values) == 0


async def test_items_that_were_not_fetched_go_with_their_stream() -> None:
    """Its reader is gone, and will not come for them."""
    async with lone_replica(Worker) as replica:
        assert replica.occupancy.admit()
        pump = ItemPump(replica.code.stream(request(1, "items", 50, INLINE_LIMIT + 1).invocation))
        pump.start()
        messages = answer_stream(replica, pump)
        message = await anext(messages)
        assert message.items[0].payload_id and len(replica.results) > 0
        await messages.aclose()
        assert len(replica.results) == 0 and replica.occupancy.ongoing == 0


async def test_an_error_is_told_with_its_origin() -> None:
    """To its caller, and to no other."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "add", "x"), request(2, "add", 1)])
        found = {answer.id: answer for answer in await answers(host, 2)}
        assert found[1].kind == ERROR and found[2].kind == RESPONSE
        assert found[1].failure.type_name == "builtins.TypeError"
        assert found[1].failure.origin == "default/Worker#0"


async def test_a_call_that_waits_for_its_values_takes_no_slot() -> None:
    """Others run meanwhile, those of the very link included."""
    async with in_mesh(max_ongoing_requests=1) as (host, replica, _):
        replica.values.expect("v")
        await host.receive([passing(1, "add", "v"), request(2, "add", 1)])
        (answer,) = await answers(host, 1)
        assert answer.id == 2 and replica.occupancy.ongoing == 0
        replica.values.put("v", encode(5))
        (answer,) = await answers(host, 1)
        assert answer.id == 1 and pickle.loads(answer.payload.pickle) == 6
        replica.values.release("v")


async def test_a_call_that_has_its_values_waits_for_a_slot() -> None:
    """It is not sent away: the values would have to be fetched again."""
    async with in_mesh(max_ongoing_requests=1) as (host, replica, worker):
        replica.values.put("v", encode(5))
        await host.receive([request(1, "wait"), passing(2, "add", "v"), passing(3, "add", "v")])
        await until(lambda: "began" in worker.log)
        await settle(50)
        assert worker.log == ["began"] and replica.occupancy.ongoing == 1
        worker.go_on.set()
        assert {frame.id for frame in await answers(host, 3)} == {1, 2, 3}
        replica.values.release("v")


async def test_calls_that_wait_for_a_slot_all_get_one() -> None:
    """However many plain calls come in between."""
    async with in_mesh(max_ongoing_requests=1) as (host, replica, worker):
        replica.values.put("v", encode(5))
        await host.receive([request(1, "wait"), *(passing(n, "add", "v") for n in range(2, 10))])
        await settle(50)
        worker.go_on.set()
        found = []
        for n in range(100, 120):
            await host.receive([request(n, "add", n)])
            found += await answers(host, 1)
        found += await answers(host, 29 - len(found))
        done = {frame.id for frame in found if frame.kind == RESPONSE}
        assert done >= set(range(1, 10)) and replica.occupancy.ongoing == 0
        replica.values.release("v")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_whose_value_failed_is_not_run(stream: bool) -> None:
    """Its caller gets the error of the value, as it was told there."""
    async with in_mesh() as (host, replica, worker):
        failure = encode_failure(KeyError("upstream"), "default/Other#7")
        replica.values.fail("v", failure)
        await host.receive([passing(1, "add", "v", stream=stream)])
        (answer,) = await answers(host, 1)
        assert answer.kind == ERROR and answer.failure == failure
        assert worker.log == [] and replica.occupancy.ongoing == 0
        replica.values.release("v")


async def test_a_call_whose_value_is_lost_is_not_run() -> None:
    """The error names both deployments."""
    async with in_mesh() as (host, replica, _):
        replica.values.put("v", encode(5))
        replica.values.release("v")
        await host.receive([passing(1, "add", "v")])
        (answer,) = await answers(host, 1)
        assert answer.failure.kind == pb.FAILURE_KIND_LOST
        assert "default/Worker was not called: a value of default/Worker" in answer.failure.message


async def test_a_call_that_is_cancelled_while_it_waits_for_values_never_runs() -> None:
    """And waits no longer for them."""
    async with in_mesh() as (host, replica, worker):
        replica.values.expect("v")
        await host.receive([passing(1, "add", "v")])
        await until(lambda: "1 waiting" in repr(replica.values))
        await host.receive([cancel(1)])
        (answer,) = await answers(host, 1)
        assert answer.failure.kind == pb.FAILURE_KIND_CANCELLED
        await until(lambda: "0 waiting" in repr(replica.values))
        assert worker.log == [] and replica.occupancy.ongoing == 0
        replica.values.put("v", encode(5))
        replica.values.release("v")


async def test_a_call_that_is_cancelled_while_it_waits_for_a_slot_leaves_it_to_the_next() -> None:
    """It has none to give back."""
    async with in_mesh(max_ongoing_requests=1) as (host, replica, worker):
        replica.values.put("v", encode(5))
        await host.receive([request(1, "wait"), passing(2, "add", "v"), passing(3, "add", "v")])
        await settle(50)
        host.session.receive([cancel(2)])
        worker.go_on.set()
        found = {frame.id: frame.kind for frame in await answers(host, 3)}
        assert found == {1: RESPONSE, 2: ERROR, 3: RESPONSE}
        replica.values.release("v")


async def test_a_leaving_replica_sends_calls_away_that_wait_for_values() -> None:
    """They were not started, and may take long to be."""
    async with in_mesh() as (host, replica, worker):
        replica.values.expect("v")
        await host.receive([passing(1, "add", "v")])
        await until(lambda: "1 waiting" in repr(replica.values))
        draining = asyncio.create_task(replica.drain())
        (answer,) = await answers(host, 1)
        assert (answer.kind, answer.id) == (pb.FRAME_KIND_BUSY, 1)
        replica.values.fail("v", encode_failure(KeyError("k"), ""))
        replica.values.release("v")
        await draining
        assert worker.log == []


async def test_a_leaving_replica_sends_calls_away_that_wait_for_a_slot() -> None:
    """Those that run are finished."""
    async with in_mesh(max_ongoing_requests=1) as (host, replica, worker):
        replica.values.put("v", encode(5))
        await host.receive([request(1, "wait"), passing(2, "add", "v")])
        await settle(50)
        draining = asyncio.create_task(replica.drain())
        (answer,) = await answers(host, 1)
        assert (answer.kind, answer.id) == (pb.FRAME_KIND_BUSY, 2)
        worker.go_on.set()
        (answer,) = await answers(host, 1)
        assert (answer.kind, answer.id) == (RESPONSE, 1)
        replica.values.release("v")
        await draining


async def test_a_call_with_references_only_starts_at_once() -> None:
    """The values may never be needed."""
    async with in_mesh() as (host, replica, _):
        replica.values.expect("v")
        await host.receive([passing(1, "look", "v", by_value=False)])
        (answer,) = await answers(host, 1)
        assert pickle.loads(answer.payload.pickle) == "ObjectRef"
        assert "0 waiting" in repr(replica.values)
        replica.values.release("v")
        replica.values.fail("v", encode_failure(KeyError("k"), ""))


async def test_a_reference_that_is_kept_is_held_before_its_call_is_answered() -> None:
    """From then on its caller need not hold it any more."""
    async with in_mesh() as (host, replica, worker):
        replica.values.put("v", encode(5))
        await host.receive([passing(1, "keep", "v", by_value=False)])
        await answers(host, 1)
        replica.values.release("v")
        assert "v" in replica.values
        assert await worker.kept == 5
        del worker.kept
        await until(lambda: "v" not in replica.values)


async def test_a_reference_that_is_not_kept_goes_with_its_call() -> None:
    """Nobody holds it on its behalf."""
    async with in_mesh() as (host, replica, _):
        replica.values.put("v", encode(5))
        await host.receive([passing(1, "look", "v", by_value=False)])
        await answers(host, 1)
        replica.values.release("v")
        assert "v" not in replica.values
