"""Typed calls over the link: bytes in, bytes out, by the same ways as any call."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.rpc.status_pb2 import Status

from meshgen.errors import BackPressureError, RequestCancelledError
from meshgen.runtime.clientstatus import name_of, status_of
from meshgen.runtime.statuserror import StatusError
from meshgen.runtime.typedcall import MessageItems, MessageReply
from meshgen.types import CallPolicy, RequestContext
from tests.apps.typedshop import Item, Shop
from tests.runtime.replicas import OVER, Mesh, Over, run_here, until
from tests.runtime.test_typedserver import TYPED

_OVER = pytest.mark.parametrize("over", OVER)
BIG = "x" * 300_000


def send(mesh: Mesh, method: str, *args: Any, **options: Any) -> MessageReply:
    """A unary call, begun."""
    reply = MessageReply()
    message = TYPED[method].request(args).SerializeToString()
    context = RequestContext(request_id="r-1", session_id="s")
    mesh.caller.submit_typed(mesh.stub, method, message, context, reply, **options)
    return reply


async def value(mesh: Mesh, method: str, *args: Any, **options: Any) -> Any:
    """What a unary call returns."""
    data = await send(mesh, method, *args, **options)
    assert type(data) is bytes
    return TYPED[method].result(TYPED[method].response_class.FromString(data))


def stream(mesh: Mesh, method: str, *args: Any) -> MessageItems:
    """A streaming call, begun."""
    items = MessageItems()
    message = TYPED[method].request(args).SerializeToString()
    mesh.caller.open_typed_stream(mesh.stub, method, message, RequestContext(), items)
    return items


async def taken(items: MessageItems, method: str) -> list[Any]:
    """All that it gives."""
    found: list[Any] = []
    while True:
        try:
            data = await items.next()
        except StopAsyncIteration:
            return found
        found.append(TYPED[method].result(TYPED[method].response_class.FromString(data)))


async def status(reply: MessageReply) -> Status:
    """What its client is told of its failure."""
    with pytest.raises(StatusError) as caught:
        await reply
    return status_of(caught.value, "unknown here")


@_OVER
async def test_messages_travel_as_they_are(over: Over) -> None:
    """Small ones inside of the frames, large ones beside the link, in both directions."""
    async with run_here(Shop, over=over, replicas=2) as mesh:
        assert await value(mesh, "plain", 1) == 2
        assert await value(mesh, "whoami") == ["r-1", "s", "", ""]
        assert await value(mesh, "total", [Item("a" * 200_000, 2.0)]) == 2.0
        assert await value(mesh, "repeat", BIG) == BIG
        assert await taken(stream(mesh, "count", 5000), "count") == list(range(5000))
        assert await taken(stream(mesh, "repeat_often", BIG), "repeat_often") == [BIG] * 3


@_OVER
async def test_a_failure_brings_its_status_and_nothing_else(over: Over) -> None:
    """Neither pickle nor traceback."""
    async with run_here(Shop, over=over) as mesh:
        told = await status(send(mesh, "sell", "tea"))
        assert (name_of(told), told.message) == ("NOT_FOUND", "no tea left")
        told = await status(send(mesh, "fail"))
        assert (name_of(told), told.message) == ("INTERNAL", "the request failed (request r-1)")
        reply = MessageReply()
        mesh.caller.submit_typed(mesh.stub, "anything", b"", RequestContext(), reply)
        assert name_of(await status(reply)) == "UNIMPLEMENTED"
        with pytest.raises(StatusError):
            await taken(stream(mesh, "fail_later"), "fail_later")


@_OVER
async def test_a_call_that_nobody_waits_for_is_cancelled(over: Over) -> None:
    """As any call is."""
    async with run_here(Shop, over=over) as mesh:
        instance = mesh.replicas[0].context.servable_object
        reply = send(mesh, "wait")
        await instance.began.wait()
        reply.cancel()
        await instance.ended.wait()
        with pytest.raises(RequestCancelledError):
            await reply


async def test_calls_beyond_the_queue_are_refused_here() -> None:
    """Admission is that of all calls."""
    async with run_here(Shop, max_ongoing_requests=1, max_queued_requests=1) as mesh:
        instance = mesh.replicas[0].context.servable_object
        waiting = [send(mesh, "wait")]
        await instance.began.wait()
        waiting += [send(mesh, "wait")]
        with pytest.raises(BackPressureError):
            await send(mesh, "plain", 1)
        for reply in waiting:
            reply.cancel()
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


async def test_a_second_copy_is_typed_too() -> None:
    """Of an idempotent call that takes long."""
    policy = CallPolicy(idempotent=True, hedge_after_s=0.01)
    async with run_here(Shop, replicas=2) as mesh:
        assert await value(mesh, "plain", 1) == 2
        (router,) = vars(mesh.caller)["_routers"].values()
        await until(lambda: len(router.members.serving) == 2)
        reply = send(mesh, "wait_at_one", policy=policy)
        data = await asyncio.wait_for(asyncio.ensure_future(_of(reply)), 10)
        assert TYPED["wait_at_one"].response_class.FromString(data).result is True


async def _of(reply: MessageReply) -> Any:
    return await reply
