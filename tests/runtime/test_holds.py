"""Values that are kept elsewhere: held there for as long as they are needed, and fetched."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator, Sequence
from weakref import ref

import pytest

from meshgen.errors import NotServingError, ObjectLostError
from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.runtime.codec import decode, encode, encode_failure
from meshgen.runtime.frames import payload_message
from meshgen.runtime.heldvalue import HeldValue, lent
from meshgen.runtime.holds import Holds
from meshgen.runtime.session import ERROR, RESPONSE
from meshgen.runtime.values import UpstreamError
from meshgen.types import DeploymentID, Payload, Token
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import Here, ScriptedPeer, serving_peer
from tests.runtime.replicas import settle, until

CART = DeploymentID("shop", "Cart")
TOKEN = Token(CART, "a", "v")
FETCH, HOLD, RELEASE = pb.FRAME_KIND_FETCH, pb.FRAME_KIND_HOLD, pb.FRAME_KIND_RELEASE


class Process(Here):
    """Needs values of a replica at `a`."""

    @property
    def owner(self) -> ScriptedPeer:
        """The connection to it that these holds opened."""
        return self.network.peers["a"]

    def asked(self) -> list[tuple[pb.FrameKind, str]]:
        """What the replica was asked since the last time."""
        return [(frame.kind, frame.value_id) for frame in self.owner.frames()]

    async def question(self) -> pb.Frame:
        """The next thing that it is asked."""
        await until(lambda: "a" in self.network.peers)
        await settle()
        (frame,) = self.owner.frames()
        return frame

    async def held(self, token: Token = TOKEN) -> HeldValue:
        """A value that is held."""
        value = self.holds.borrow(token)
        holding = asyncio.create_task(self.holds.hold(_lent(value)))
        self.owner_answers((await self.question()).id)
        await holding
        return value

    def owner_answers(self, question: int, value: object = None) -> None:
        """It has, or holds, the value."""
        payload = payload_message(encode(value))
        self.owner.arrive(pb.Frame(kind=RESPONSE, id=question, payload=payload))

    def owner_fails(self, question: int, error: Exception) -> None:
        """It has none."""
        failure = encode_failure(error, "shop/Cart#0")
        self.owner.arrive(pb.Frame(kind=ERROR, id=question, failure=failure))


@pytest.fixture
async def here() -> AsyncIterator[Process]:
    """A process that is closed in the end."""
    process = Process()
    yield process
    await process.holds.close()


def _lent(value: HeldValue) -> Sequence[ref[HeldValue]]:
    reply = Reply()
    reply.leave_at(value)
    return lent(encode([ObjectRef(reply)]).references)


async def test_a_value_is_one_object_as_long_as_somebody_needs_it(here: Process) -> None:
    """So there is one hold on it, however often it came here."""
    first = here.holds.borrow(TOKEN)
    assert here.holds.borrow(TOKEN) is first
    assert here.holds.borrow(Token(CART, "a", "other")) is not first


async def test_a_borrowed_value_asks_for_nothing(here: Process) -> None:
    """Whoever passed it holds it, and it may never be needed."""
    value = here.holds.borrow(TOKEN)
    assert value.lease is None
    del value
    gc.collect()
    await settle()
    assert here.network.peers == {}


async def test_a_value_is_released_with_the_last_reference_to_it(here: Process) -> None:
    """At once, and on the link that holds it."""
    value = await here.held()
    also = here.holds.borrow(TOKEN)
    assert value.lease is not None and here.owner.held == 1
    del value
    gc.collect()
    await settle()
    assert here.asked() == []
    del also
    gc.collect()
    await settle()
    assert here.asked() == [(RELEASE, "v")] and here.owner.held == 0


async def test_letting_go_of_a_value_is_never_done_in_the_middle_of_other_code(
    here: Process,
) -> None:
    """A collection of garbage may come at any time, as while a frame is being queued."""
    value = await here.held()
    del value
    gc.collect()
    assert here.asked() == [] and here.owner.held == 1
    await settle()
    assert here.asked() == [(RELEASE, "v")]


async def test_a_value_that_is_gone_when_its_turn_comes_is_not_held(here: Process) -> None:
    """The call that brought it has let go of it."""
    borrowed = _lent(here.holds.borrow(TOKEN))
    gc.collect()
    await here.holds.hold(borrowed)
    assert here.network.peers == {}


async def test_a_value_that_is_held_twice_at_a_time_is_asked_for_once(here: Process) -> None:
    """Two calls that brought it end together; both wait for the one answer."""
    value = here.holds.borrow(TOKEN)
    both = [asyncio.create_task(here.holds.hold(_lent(value))) for _ in range(2)]
    question = await here.question()
    assert question.kind == HOLD and not any(task.done() for task in both)
    here.owner_answers(question.id)
    await asyncio.gather(*both)
    assert here.asked() == [] and here.owner.held == 1


async def test_a_hold_whose_call_is_cancelled_is_not_forgotten(here: Process) -> None:
    """The owner has counted it: it must be released some day."""
    value = here.holds.borrow(TOKEN)
    holding = asyncio.create_task(here.holds.hold(_lent(value)))
    question = await here.question()
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
    here.owner_answers(question.id)
    await settle()
    assert value.lease is not None
    del value
    gc.collect()
    await settle()
    assert (RELEASE, "v") in here.asked()


async def test_a_value_that_is_gone_cannot_be_held(here: Process) -> None:
    """Who asks for it will be told; who only keeps it need not know."""
    value = here.holds.borrow(TOKEN)
    holding = asyncio.create_task(here.holds.hold(_lent(value)))
    here.owner_fails((await here.question()).id, ObjectLostError("gone"))
    await holding
    assert value.lease is None


async def test_a_value_is_fetched_from_who_has_it(here: Process) -> None:
    """With its next owner's leave: none is needed."""
    pulling = asyncio.create_task(here.holds.pull(here.holds.borrow(TOKEN)))
    question = await here.question()
    assert (question.kind, question.value_id) == (FETCH, "v")
    here.owner_answers(question.id, "value")
    assert decode(await pulling) == "value"


async def test_a_large_value_is_fetched_beside_the_link(here: Process) -> None:
    """By the id that the answer says."""
    pulling = asyncio.create_task(here.holds.pull(here.holds.borrow(TOKEN)))
    question = await here.question()
    payload = pb.Payload(payload_id="v")
    here.owner.arrive(pb.Frame(kind=RESPONSE, id=question.id, payload=payload))
    await until(lambda: bool(here.owner.fetches))
    here.owner.fetches[0].set_result(Payload(pickle.dumps("large")))
    assert decode(await pulling) == "large"


async def test_a_value_that_could_not_be_made_is_its_makers_error(here: Process) -> None:
    """As its caller was told of it."""
    reply = Reply()
    here.holds.borrow(TOKEN).fetch(reply)
    here.owner_fails((await here.question()).id, KeyError("upstream"))
    with pytest.raises(KeyError, match="upstream"):
        await reply


async def test_a_value_that_is_lost_is_told_as_its_owner_says(here: Process) -> None:
    """It knows why."""
    pulling = asyncio.create_task(here.holds.pull(here.holds.borrow(TOKEN)))
    here.owner_fails((await here.question()).id, ObjectLostError("a value of shop/Cart is gone"))
    with pytest.raises(ObjectLostError, match="a value of shop/Cart is gone"):
        await pulling


@pytest.mark.parametrize("failure", ["", "connection refused"])
async def test_a_question_ends_with_its_link(failure: str, here: Process) -> None:
    """The error names the owner and its address, and says why where that is known."""
    pulling = asyncio.create_task(here.holds.pull(here.holds.borrow(TOKEN)))
    await here.question()
    here.owner.lose(failure)
    why = failure or "its replica is gone"
    with pytest.raises(ObjectLostError, match=f"shop/Cart made at a is lost: {why}"):
        await pulling


async def test_a_hold_ends_with_its_link(here: Process) -> None:
    """Its call ends all the same."""
    value = here.holds.borrow(TOKEN)
    holding = asyncio.create_task(here.holds.hold(_lent(value)))
    await here.question()
    here.owner.lose()
    await holding
    assert value.lease is None


async def test_an_owner_is_connected_to_once(here: Process) -> None:
    """And again only when that connection has ended."""
    one = await here.held()
    first = here.owner
    other = await here.held(Token(CART, "a", "other"))
    assert here.owner is first and one.lease is not None is not other.lease
    first.lose()
    pulling = asyncio.create_task(here.holds.pull(other))
    await until(lambda: here.owner is not first)
    here.owner_answers((await here.question()).id, "still there")
    assert decode(await pulling) == "still there"


async def test_an_owner_that_is_not_found_has_lost_the_value() -> None:
    """As where its application was deleted."""

    def find(_: DeploymentID) -> object:
        raise NotServingError("no such application")

    process = Process()
    holds = Holds(process.network, find, process)  # type: ignore[arg-type]  # it never returns
    with pytest.raises(ObjectLostError, match="shop/Cart made at a is lost: no such application"):
        await holds.pull(holds.borrow(TOKEN))


@pytest.mark.parametrize("told", ["before", "after"])
async def test_what_a_leaving_replica_keeps_is_brought_here(told: str, here: Process) -> None:
    """Then it is released, and the link ends: the replica waits for that."""
    draining = pb.State(phase=pb.REPLICA_PHASE_DRAINING)
    value = here.holds.borrow(TOKEN)
    holding = asyncio.create_task(here.holds.hold(_lent(value)))
    question = await here.question()
    if told == "before":
        here.owner.tell(draining)
    here.owner_answers(question.id)
    await holding
    if told == "after":
        here.owner.tell(draining)
    await settle()
    fetch = await here.question()
    assert fetch.kind == FETCH
    here.owner_answers(fetch.id, "value")
    await settle()
    assert here.asked() == [(RELEASE, "v")]
    assert await here.owner.session.outbox.next() is None
    assert decode(await here.holds.pull(value)) == "value"


async def test_a_leaving_replica_keeps_a_value_until_who_was_told_of_it_knows(
    here: Process,
) -> None:
    """A replica that was slow to read its call has its own hold to ask for then."""
    value = await here.held()
    slow, gone = serving_peer("slow"), serving_peer("gone")
    slow.beside = gone.beside = 1
    gone.lose()
    assert value.lease is not None
    value.lease.told |= {slow, gone}
    here.owner.tell(pb.State(phase=pb.REPLICA_PHASE_DRAINING))
    await settle()
    here.owner_answers((await here.question()).id, "value")
    await settle()
    assert here.asked() == []
    (ping,) = slow.frames()
    slow.arrive(pb.Frame(kind=pb.FRAME_KIND_PONG, id=ping.id))
    await settle()
    assert here.asked() == [(RELEASE, "v")]


async def test_an_error_that_a_leaving_replica_keeps_is_brought_here(here: Process) -> None:
    """Whoever asks for the value later gets it."""
    value = await here.held()
    here.owner.tell(pb.State(phase=pb.REPLICA_PHASE_DRAINING))
    await settle()
    here.owner_fails((await here.question()).id, KeyError("upstream"))
    await settle()
    assert here.asked() == [(RELEASE, "v")]
    with pytest.raises(UpstreamError, match="upstream"):
        await here.holds.pull(value)
    reply = Reply()
    reply.leave_at(value)
    with pytest.raises(KeyError, match="upstream"):
        await reply


async def test_closing_fails_who_waits_for_a_value() -> None:
    """As a mesh that is gone."""
    here, reply = Process(), Reply()
    here.holds.borrow(TOKEN).fetch(reply)
    await here.question()
    await here.holds.close()
    with pytest.raises(NotServingError, match="shop/Cart cannot be had: the mesh was shut down"):
        await asyncio.wait_for(reply, 5)


async def test_closing_fails_a_call_that_waits_for_a_value() -> None:
    """Its task belongs to somebody else, and must not wait for ever."""
    here = Process()
    pulling = asyncio.create_task(here.holds.pull(here.holds.borrow(TOKEN)))
    await here.question()
    await here.holds.close()
    with pytest.raises(ObjectLostError):
        await asyncio.wait_for(pulling, 5)


async def test_nothing_is_fetched_after_closing() -> None:
    """No new connection, and an error for whoever asks."""
    here, reply = Process(), Reply()
    await here.holds.close()
    here.holds.borrow(TOKEN).fetch(reply)
    with pytest.raises(NotServingError):
        await asyncio.wait_for(reply, 5)
    with pytest.raises(ObjectLostError, match="the mesh was shut down"):
        await here.holds.pull(here.holds.borrow(TOKEN))
    assert here.network.peers == {}


def _reference(value_id: str, *, by_value: bool = True, address: str = "a") -> pb.Reference:
    return pb.Reference(owner="shop/Cart", address=address, value_id=value_id, by_value=by_value)


async def test_what_a_call_refers_to_is_brought_in_order(here: Process) -> None:
    """Values that are meant themselves, whenever they come; references as they are."""
    inline = pb.Reference(by_value=True, payload=payload_message(encode("inline")))
    messages = [_reference("v"), _reference("r", by_value=False), inline, _reference("w")]
    bringing = asyncio.create_task(here.holds.bring(messages))
    await until(lambda: "a" in here.network.peers)
    await settle()
    asked = {(frame.kind, frame.value_id): frame.id for frame in here.owner.frames()}
    assert set(asked) == {(FETCH, "v"), (FETCH, "w"), (HOLD, "r")}
    here.owner_answers(asked[FETCH, "w"], "w")
    here.owner_answers(asked[FETCH, "v"], "v")
    v, r, at_hand, w = [each.reply for each in await bringing]
    assert [v.value(), at_hand.value(), w.value()] == ["v", "inline", "w"]
    assert r.kept is not None and r.kept.token.value_id == "r" and not r.done


async def test_the_first_failure_ends_what_else_is_fetched_for_a_call(here: Process) -> None:
    """Nobody needs the rest, which may be long in coming."""
    bringing = asyncio.create_task(here.holds.bring([_reference("v"), _reference("w")]))
    await until(lambda: "a" in here.network.peers)
    await settle()
    first, second = here.owner.frames()
    here.owner_fails(first.id, KeyError("upstream"))
    with pytest.raises(UpstreamError):
        await bringing
    await settle()
    assert [(frame.kind, frame.id) for frame in here.owner.frames()] == [
        (pb.FRAME_KIND_CANCEL, second.id)
    ]


async def test_a_failure_that_came_with_a_call_is_raised_before_anything_is_fetched(
    here: Process,
) -> None:
    """It is there already."""
    failure = encode_failure(KeyError("upstream"), "its caller")
    failed = pb.Reference(by_value=True, failure=failure)
    with pytest.raises(UpstreamError, match="upstream"):
        await here.holds.bring([_reference("v"), failed])
    assert here.network.peers == {}


async def test_a_failure_that_is_only_referred_to_is_for_who_awaits_it(here: Process) -> None:
    """The call itself runs."""
    failure = encode_failure(KeyError("upstream"), "its caller")
    (passed,) = await here.holds.bring([pb.Reference(failure=failure)])
    with pytest.raises(KeyError, match="upstream"):
        passed.reply.value()
