"""Frames that wait to be written: batches that stay small, and a writer that sleeps in between."""

from __future__ import annotations

import asyncio

import pytest

from meshgen.runtime.outbox import BATCH_BYTES, Outbox, note
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import settle


@pytest.fixture
def outbox() -> Outbox[pb.LinkRequest]:
    """A caller's."""
    return Outbox(pb.LinkRequest)


def test_all_that_is_queued_leaves_as_one_message(outbox: Outbox[pb.LinkRequest]) -> None:
    """Batching is what pays."""
    for number in range(100):
        note(outbox, pb.FRAME_KIND_PING, number)
    message = outbox.take()
    assert message is not None
    assert [frame.id for frame in message.frames] == list(range(100))
    assert outbox.take() is None


@pytest.mark.parametrize("size", [1, 1000, 60_000])
def test_a_message_stops_growing(size: int, outbox: Outbox[pb.LinkRequest]) -> None:
    """What is queued behind a batch of big frames need not wait for all of them."""
    count = 3 * BATCH_BYTES // size if size > 1 else 10
    for _ in range(count):
        outbox.add(size).payload.pickle = bytes(size)
    frames = 0
    while (message := outbox.take()) is not None:
        frames += len(message.frames)
        assert sum(len(frame.payload.pickle) for frame in message.frames) < BATCH_BYTES + size
    assert frames == count


async def test_the_writer_sleeps_until_there_is_something(outbox: Outbox[pb.LinkRequest]) -> None:
    """And ends once the outbox is closed and empty."""
    waiting = asyncio.create_task(outbox.next())
    await settle()
    assert not waiting.done()
    outbox.add().id = 7
    message = await waiting
    assert message is not None and [frame.id for frame in message.frames] == [7]
    outbox.add().id = 8
    outbox.close()
    assert await outbox.next() is not None
    assert await outbox.next() is None


async def test_a_sleeping_writer_ends_when_the_outbox_is_closed(
    outbox: Outbox[pb.LinkRequest],
) -> None:
    """Nothing would wake it any more."""
    waiting = asyncio.create_task(outbox.next())
    await settle()
    outbox.close()
    assert await waiting is None


async def test_a_writer_that_was_cancelled_does_not_stop_the_next_one(
    outbox: Outbox[pb.LinkRequest],
) -> None:
    """What is queued is still there."""
    waiting = asyncio.create_task(outbox.next())
    await settle()
    waiting.cancel()
    await settle()
    outbox.add().id = 7
    assert await outbox.next() is not None
