"""Pumps that nobody reads at the moment: handed over once, and stopped when nobody will."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from meshgen.errors import ProtocolError
from meshgen.runtime.openstreams import OpenStreams
from meshgen.runtime.pump import ItemPump
from meshgen.types import Payload
from tests.runtime.replicas import settle


class _Producer:
    """Yields one item, then waits; knows whether its `finally` has run."""

    def __init__(self) -> None:
        self.stopped = False
        self.pump = ItemPump(self._produce())
        self.pump.start()

    async def _produce(self) -> AsyncIterator[Payload]:
        try:
            yield Payload(b"1")
            await asyncio.Event().wait()
        finally:
            self.stopped = True


async def test_a_pump_is_taken_once() -> None:
    """By who knows its id, which nobody guesses."""
    streams, producer = OpenStreams(lambda: None), _Producer()
    stream_id = streams.park(producer.pump)
    assert len(stream_id) == 32
    assert stream_id in streams
    assert streams.take(stream_id) is producer.pump
    with pytest.raises(ProtocolError, match=stream_id):
        streams.take(stream_id)
    assert len(streams) == 0
    await producer.pump.close()


async def test_a_dropped_pump_is_closed_and_its_slot_given_back() -> None:
    """In this order; dropping it again is harmless."""
    producer, given_back = _Producer(), list[bool]()
    streams = OpenStreams(lambda: given_back.append(producer.stopped))
    stream_id = streams.park(producer.pump)
    await settle()
    streams.drop(stream_id)
    streams.drop(stream_id)
    await settle()
    assert given_back == [True]


async def test_a_pump_that_was_taken_is_not_dropped() -> None:
    """Who reads it says when it ends."""
    streams, producer = OpenStreams(lambda: None), _Producer()
    stream_id = streams.park(producer.pump)
    streams.take(stream_id)
    streams.drop(stream_id)
    await settle()
    assert not producer.stopped
    await producer.pump.close()


async def test_closing_drops_all_and_waits_for_them() -> None:
    """Those that are being closed already included."""
    given_back: list[None] = []
    streams = OpenStreams(lambda: given_back.append(None))
    producers = [_Producer() for _ in range(3)]
    ids = [streams.park(producer.pump) for producer in producers]
    await settle()
    streams.drop(ids[0])
    await streams.close()
    assert [producer.stopped for producer in producers] == [True] * 3
    assert len(given_back) == 3
