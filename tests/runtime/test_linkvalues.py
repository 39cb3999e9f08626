"""What a replica keeps for one caller's link, and what it answers when asked for it."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from meshgen.errors import ProtocolError
from meshgen.runtime.host import LinkHost
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hosts import Worker, answers, cancel, hello, hosted, of_value, request
from tests.runtime.replicas import lone_replica, settle, until

RETAIN, RETURN, RELEASE = pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_RETURN, pb.FRAME_KIND_RELEASE
FETCH, HOLD = pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD
LOST, CANCELLED = pb.FAILURE_KIND_LOST, pb.FAILURE_KIND_CANCELLED


async def _ask(host: LinkHost, kind: pb.FrameKind, value_id: str, question: int = 99) -> pb.Frame:
    """FETCH or HOLD a value; the answer."""
    await host.receive([of_value(kind, value_id, question)])
    (answer,) = await answers(host, 1)
    assert answer.id == question
    return answer


async def test_the_outcome_of_a_running_call_is_kept() -> None:
    """Under the id that its caller chose, beside going there."""
    async with hosted() as (host, replica, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1)])
        worker.go_on.set()
        (answer,) = await answers(host, 1)
        assert answer.value_id == "v" and pickle.loads(answer.payload.pickle) == "waited"
        fetched = await _ask(host, FETCH, "v")
        assert fetched.payload == answer.payload
        assert len(replica.values) == 1


async def test_an_error_of_a_running_call_is_kept() -> None:
    """Whoever asks for the value gets it."""
    async with hosted() as (host, _, _worker):
        host.session.receive([request(1, "fail"), of_value(RETAIN, "v", 1)])
        (answer,) = await answers(host, 1)
        assert answer.kind == ERROR and answer.value_id == "v"
        assert (await _ask(host, FETCH, "v")).failure == answer.failure


async def test_a_question_waits_for_a_value_that_is_being_made() -> None:
    """However long that takes."""
    async with hosted() as (host, _, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)])
        await settle()
        worker.go_on.set()
        assert {frame.id for frame in await answers(host, 2)} == {1, 2}


async def test_a_small_outcome_that_has_left_is_taken_back() -> None:
    """Its replica had let it go when it heard that others want it."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "add", 1)])
        (answer,) = await answers(host, 1)
        assert not answer.value_id
        await host.receive([of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)])
        back = of_value(RETURN, "v")
        back.payload.CopyFrom(answer.payload)
        await host.receive([back])
        (fetched,) = await answers(host, 1)
        assert fetched.id == 2 and pickle.loads(fetched.payload.pickle) == 2


async def test_an_error_that_has_left_is_taken_back() -> None:
    """As it was told."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "fail")])
        (answer,) = await answers(host, 1)
        back = of_value(RETURN, "v")
        back.failure.CopyFrom(answer.failure)
        await host.receive([of_value(RETAIN, "v", 1), back])
        assert (await _ask(host, FETCH, "v")).failure == answer.failure


async def test_a_large_outcome_that_has_left_its_id_is_kept_under_the_new_one() -> None:
    """It was here all the time; the first id may go."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, "large")])
        (answer,) = await answers(host, 1)
        own = answer.payload.payload_id
        await host.receive([of_value(RETAIN, "v", 1), of_value(RELEASE, own)])
        fetched = await _ask(host, FETCH, "v")
        assert fetched.payload.payload_id == "v"
        assert own not in replica.values and len(replica.values) == 1


async def test_a_large_outcome_that_was_retained_is_kept_once() -> None:
    """Under the one id."""
    async with hosted() as (host, replica, _):
        host.session.receive([request(1, "large"), of_value(RETAIN, "v", 1)])
        (answer,) = await answers(host, 1)
        assert answer.payload.payload_id == "v" and len(replica.values) == 1


async def test_a_call_that_was_refused_leaves_nothing_once_it_is_let_go() -> None:
    """Who waits for its value there is told that it is lost."""
    async with hosted(max_ongoing_requests=1) as (host, replica, worker):
        await host.receive([request(1, "wait"), request(2, "add", 1), of_value(RETAIN, "v", 2)])
        (busy,) = await answers(host, 1)
        assert (busy.kind, busy.id) == (pb.FRAME_KIND_BUSY, 2)
        await host.receive([of_value(FETCH, "v", 3), of_value(RELEASE, "v")])
        (lost,) = await answers(host, 1)
        assert lost.failure.kind == LOST and len(replica.values) == 0
        worker.go_on.set()


async def test_a_call_that_is_left_has_no_value() -> None:
    """Whoever was told of one gets its cancellation."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), cancel(1)])
        await answers(host, 1)
        assert (await _ask(host, FETCH, "v")).failure.kind == CANCELLED


async def test_a_call_that_is_left_before_its_outcome_came_back_has_no_value() -> None:
    """Its answer and the caller's CANCEL have crossed: nobody will give it back."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "add", 1)])
        await answers(host, 1)
        await host.receive([of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2), cancel(1)])
        (answer,) = await answers(host, 1)
        assert answer.id == 2 and answer.failure.kind == CANCELLED


async def test_a_value_that_was_given_back_stays_when_its_call_is_over() -> None:
    """The CANCEL says only that its caller has all that its answer spoke of."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "add", 1)])
        (answer,) = await answers(host, 1)
        back = of_value(RETURN, "v")
        back.payload.CopyFrom(answer.payload)
        await host.receive([of_value(RETAIN, "v", 1), back, cancel(1)])
        assert (await _ask(host, FETCH, "v")).kind == RESPONSE


async def test_a_large_result_of_a_call_that_was_left_is_dropped() -> None:
    """Its code went on in spite of the cancellation; nobody will ever come for what it made."""
    async with hosted() as (host, replica, worker):
        await host.receive([request(1, "stubborn")])
        await settle()
        await host.receive([cancel(1)])
        await answers(host, 1)
        assert worker.log == ["not impressed"]
        assert len(replica.values) == 0


async def test_a_large_result_that_comes_after_the_end_of_the_link_is_dropped() -> None:
    """The same, with its caller gone."""
    async with lone_replica(Worker) as replica:
        async with LinkHost(replica) as host:
            await host.receive([hello(), request(1, "stubborn")])
            await settle()
        assert replica.context.servable_object.log == ["not impressed"]
        assert len(replica.values) == 0


async def test_a_release_of_what_this_link_does_not_hold_changes_nothing() -> None:
    """An id may be known to many; each lets go of its own."""
    async with hosted() as (host, replica, _):
        replica.values.put("v", Payload(b"theirs"))
        await host.receive([of_value(RELEASE, "v")])
        assert "v" in replica.values
        replica.values.release("v")


async def test_each_hold_needs_its_own_release() -> None:
    """Two of one link may cross with a release of the first."""
    async with hosted() as (host, replica, _):
        replica.values.put("v", Payload(b"v"))
        assert (await _ask(host, HOLD, "v")).kind == RESPONSE
        replica.values.release("v")
        assert (await _ask(host, HOLD, "v")).kind == RESPONSE
        await host.receive([of_value(RELEASE, "v")])
        assert "v" in replica.values
        await host.receive([of_value(RELEASE, "v"), of_value(RELEASE, "v")])
        assert "v" not in replica.values


async def test_what_is_not_there_cannot_be_held() -> None:
    """The answer says that it is lost."""
    async with hosted() as (host, _, _worker):
        answer = await _ask(host, HOLD, "unknown")
        assert answer.kind == ERROR and answer.failure.kind == LOST


async def test_the_end_of_the_link_releases_what_it_held() -> None:
    """However it came to hold it; what others hold stays."""
    async with lone_replica(Worker) as replica:
        replica.values.put("theirs", Payload(b""))
        async with LinkHost(replica) as host:
            await host.receive([hello(), request(1, "large"), request(2, "wait")])
            await answers(host, 1)
            await host.receive([of_value(RETAIN, "running", 2), of_value(RETAIN, "late", 1)])
            await _ask(host, HOLD, "theirs")
            assert len(replica.values) == 4
        assert len(replica.values) == 1 and "theirs" in replica.values
        assert replica.occupancy.wanted == 0


async def test_the_end_of_the_link_ends_its_questions() -> None:
    """Nobody is left to be answered."""
    async with lone_replica(Worker) as replica:
        async with LinkHost(replica) as host:
            wanted = [of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)]
            await host.receive([hello(), request(1, "wait"), *wanted])
            await settle()
            assert "1 waiting" in repr(replica.values)
        assert "0 waiting" in repr(replica.values)


async def test_another_link_may_fetch_what_this_one_keeps() -> None:
    """That is what it is kept for."""
    async with hosted() as (host, replica, _):
        host.session.receive([request(1, "add", 1), of_value(RETAIN, "v", 1)])
        await answers(host, 1)
        async with LinkHost(replica) as other:
            await other.receive([hello()])
            assert pickle.loads((await _ask(other, FETCH, "v")).payload.pickle) == 2


async def test_giving_back_what_nobody_asked_for_is_against_the_protocol() -> None:
    """A caller that does so is mistaken about more than that."""
    async with hosted() as (host, _, _worker):
        back = of_value(RETURN, "v")
        back.payload.pickle = b"N."
        with pytest.raises(ProtocolError, match="test gave back what nobody had asked for"):
            await host.receive([back])


async def test_a_question_that_is_cancelled_is_answered_so() -> None:
    """Once: its caller counts it as in flight until then."""
    async with hosted() as (host, _, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)])
        await settle()
        await host.receive([cancel(2)])
        (answer,) = await answers(host, 1)
        assert (answer.id, answer.failure.kind) == (2, CANCELLED)
        worker.go_on.set()
        (last,) = await answers(host, 1)
        assert last.id == 1


@pytest.mark.parametrize("turns", range(5))
async def test_a_question_is_answered_once_however_late_it_is_cancelled(turns: int) -> None:
    """Whether it has begun, has been answered or is long over."""
    async with hosted() as (host, replica, _):
        replica.values.put("v", Payload(b"N."))
        host.session.receive([of_value(FETCH, "v", 1)])
        for _ in range(turns):
            await asyncio.sleep(0)
        host.session.receive([cancel(1)])
        await settle()
        host.session.receive([pb.Frame(kind=pb.FRAME_KIND_PING, id=7)])
        assert [frame.id for frame in await answers(host, 2)] == [1, 7]
        replica.values.release("v")


async def test_a_copy_whose_original_cannot_be_read_is_an_error() -> None:
    """Nobody waits for ever for what will not come."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, "large")])
        (answer,) = await answers(host, 1)
        # Let go of in this very moment, as by whoever stops the replica.
        host.session.receive([of_value(RETAIN, "v", 1)])
        replica.values.release(answer.payload.payload_id)
        replica.values.release(answer.payload.payload_id)
        assert (await _ask(host, FETCH, "v")).failure.kind == LOST
        await until(lambda: len(replica.values) == 1)
