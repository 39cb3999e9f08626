"""What a replica keeps for one caller's link, and what it answers when asked for it."""

from __future__ import annotations

import asyncio
import pickle

import pytest

from meshgen.errors import ProtocolError
from meshgen.runtime.codec import encode
from meshgen.runtime.host import LinkHost
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.hosts import (
    Worker,
    answers,
    cancel,
    hello,
    hosted,
    in_mesh,
    of_value,
    passing,
    request,
)
from tests.runtime.replicas import lone_replica, settle

RETAIN, RELEASE, BUSY = pb.FRAME_KIND_RETAIN, pb.FRAME_KIND_RELEASE, pb.FRAME_KIND_BUSY
FETCH, HOLD = pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD
LOST, CANCELLED = pb.FAILURE_KIND_LOST, pb.FAILURE_KIND_CANCELLED


async def _ask(host: LinkHost, kind: pb.FrameKind, value_id: str, question: int = 99) -> pb.Frame:
    """FETCH or HOLD a value; the answer."""
    await host.receive([of_value(kind, value_id, question)])
    (answer,) = await answers(host, 1)
    assert answer.id == question
    return answer


async def _confirmed(host: LinkHost, *call_ids: int) -> None:
    """The replica says that it is going to keep those outcomes."""
    found = [(frame.kind, frame.id) for frame in await answers(host, len(call_ids))]
    assert found == [(RETAIN, call_id) for call_id in call_ids]


async def _nothing_to_say(host: LinkHost) -> bool:
    """Whether no answer is under way."""
    await settle()
    host.session.receive([pb.Frame(kind=pb.FRAME_KIND_PING, id=7)])
    return [frame.kind for frame in await answers(host, 1)] == [pb.FRAME_KIND_PONG]


async def test_the_outcome_of_a_running_call_is_kept() -> None:
    """Under the id that its caller chose, beside going there; that is confirmed at once."""
    async with hosted() as (host, replica, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1)])
        await _confirmed(host, 1)
        assert "v" in replica.values
        worker.go_on.set()
        (answer,) = await answers(host, 1)
        assert pickle.loads(answer.payload.pickle) == "waited"
        fetched = await _ask(host, FETCH, "v")
        assert fetched.payload == answer.payload
        assert len(replica.values) == 1


async def test_an_error_of_a_running_call_is_kept() -> None:
    """Whoever asks for the value gets it."""
    async with hosted() as (host, _, _worker):
        host.session.receive([request(1, "fail"), of_value(RETAIN, "v", 1)])
        await _confirmed(host, 1)
        (answer,) = await answers(host, 1)
        assert answer.kind == ERROR
        assert (await _ask(host, FETCH, "v")).failure == answer.failure


async def test_a_question_waits_for_a_value_that_is_being_made() -> None:
    """However long that takes."""
    async with hosted() as (host, _, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)])
        await _confirmed(host, 1)
        await settle()
        worker.go_on.set()
        assert {frame.id for frame in await answers(host, 2)} == {1, 2}


@pytest.mark.parametrize("method", ["add", "fail"])
async def test_an_outcome_that_has_left_is_not_kept_any_more(method: str) -> None:
    """Nothing is confirmed either: its caller has it from the answer."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, method, *([1] if method == "add" else []))])
        await answers(host, 1)
        await host.receive([of_value(RETAIN, "v", 1)])
        assert await _nothing_to_say(host)
        assert len(replica.values) == 0 and replica.occupancy.wanted == 0
        assert (await _ask(host, FETCH, "v")).failure.kind == LOST


async def test_a_large_outcome_that_was_left_here_keeps_its_one_id() -> None:
    """Its caller knows that from the answer; the other was confirmed to nobody."""
    async with hosted() as (host, replica, _):
        await host.receive([request(1, "large")])
        (answer,) = await answers(host, 1)
        own = answer.payload.payload_id
        await host.receive([of_value(RETAIN, "v", 1)])
        assert await _nothing_to_say(host)
        await host.receive([of_value(RELEASE, "v")])
        assert own in replica.values and "v" not in replica.values
        assert (await _ask(host, FETCH, own)).payload.payload_id == own


async def test_a_call_that_is_retained_twice_is_refused() -> None:
    """Its outcome has one id."""
    async with hosted() as (host, replica, _):
        with pytest.raises(ProtocolError, match="test had call 1 retained twice"):
            await host.receive(
                [request(1, "wait"), of_value(RETAIN, "v", 1), of_value(RETAIN, "w", 1)]
            )
    assert len(replica.values) == 0 and replica.occupancy.wanted == 0


async def test_a_large_outcome_that_was_retained_is_kept_once() -> None:
    """Under the one id."""
    async with hosted() as (host, replica, _):
        host.session.receive([request(1, "large"), of_value(RETAIN, "v", 1)])
        await _confirmed(host, 1)
        (answer,) = await answers(host, 1)
        assert answer.payload.payload_id == "v" and len(replica.values) == 1


async def test_a_call_that_was_refused_has_nothing_to_keep() -> None:
    """Its RETAIN was behind it; BUSY is all that its caller hears."""
    async with hosted(max_ongoing_requests=1) as (host, replica, worker):
        await host.receive([request(1, "wait"), request(2, "add", 1), of_value(RETAIN, "v", 2)])
        (busy,) = await answers(host, 1)
        assert (busy.kind, busy.id) == (BUSY, 2)
        assert await _nothing_to_say(host)
        assert len(replica.values) == 0
        assert (await _ask(host, FETCH, "v")).failure.kind == LOST
        worker.go_on.set()


async def test_nobody_is_told_of_the_value_of_a_call_that_may_be_sent_away() -> None:
    """While it waits for its own values this replica may leave, and the call run elsewhere."""
    async with in_mesh() as (host, replica, _):
        replica.values.expect("argument")
        await host.receive([passing(1, "add", "argument"), of_value(RETAIN, "v", 1)])
        assert await _nothing_to_say(host)
        leaving = asyncio.create_task(replica.drain())
        (answer,) = await answers(host, 1)
        assert answer.kind == BUSY
        assert (await _ask(host, FETCH, "v")).failure.kind == LOST
        await host.receive([of_value(RELEASE, "v")])
        replica.values.release("argument")
        await leaving


async def test_that_a_call_which_waited_is_kept_is_confirmed_when_it_starts() -> None:
    """From then on it stays here."""
    async with in_mesh() as (host, replica, _):
        replica.values.expect("argument")
        await host.receive([passing(1, "add", "argument"), of_value(RETAIN, "v", 1)])
        assert await _nothing_to_say(host)
        replica.values.put("argument", encode(5))
        assert [frame.kind for frame in await answers(host, 2)] == [RETAIN, RESPONSE]
        await host.receive([of_value(RELEASE, "v")])
        replica.values.release("argument")


async def test_a_call_that_is_left_has_no_value() -> None:
    """Whoever was told of one gets its cancellation."""
    async with hosted() as (host, _, _worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), cancel(1)])
        await answers(host, 2)
        assert (await _ask(host, FETCH, "v")).failure.kind == CANCELLED


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
        assert (await _ask(host, HOLD, "v", 100)).kind == RESPONSE
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
            await host.receive([of_value(RETAIN, "running", 2)])
            await _confirmed(host, 2)
            await _ask(host, HOLD, "theirs")
            assert len(replica.values) == 3
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
        await answers(host, 2)
        async with LinkHost(replica) as other:
            await other.receive([hello()])
            assert pickle.loads((await _ask(other, FETCH, "v")).payload.pickle) == 2


async def test_a_question_that_is_cancelled_is_answered_so() -> None:
    """Once: its caller counts it as in flight until then."""
    async with hosted() as (host, _, worker):
        await host.receive([request(1, "wait"), of_value(RETAIN, "v", 1), of_value(FETCH, "v", 2)])
        await _confirmed(host, 1)
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


async def test_the_value_of_a_call_whose_caller_is_gone_is_lost() -> None:
    """Nobody has cancelled it, for whom a reference to it was given to."""
    async with hosted() as (host, replica, _):
        async with LinkHost(replica) as other:
            await other.receive([hello(), request(1, "wait"), of_value(RETAIN, "v", 1)])
            await _confirmed(other, 1)
            await host.receive([of_value(HOLD, "v", 1), of_value(FETCH, "v", 2)])
            await answers(host, 1)
        (answer,) = await answers(host, 1)
        assert answer.failure.kind == LOST
        assert "the connection to test, which had called, ended" in answer.failure.message
