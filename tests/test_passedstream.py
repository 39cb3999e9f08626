"""A stream among the arguments of another call: whose items they are, and for how long."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from meshgen.errors import NotServingError, RequestCancelledError, SerializationError
from meshgen.items import ItemBuffer
from meshgen.passedstream import PassedStream
from meshgen.types import Payload


def _payloads(*numbers: int) -> list[Payload]:
    return [Payload(str(number).encode()) for number in numbers]


def _decode(payload: Payload) -> int:
    return int(bytes(payload.pickle))


def _open() -> tuple[ItemBuffer, list[str]]:
    """A stream that is on its way, and what its producer is told."""
    items, told = ItemBuffer(), list[str]()
    items.on_cancel = lambda: told.append("stop")
    return items, told


def _claimed(items: ItemBuffer) -> PassedStream:
    passed = PassedStream(items)
    passed.claim()
    return passed


def test_what_was_here_already_is_handed_over() -> None:
    """A short stream has ended before anybody passes it on."""
    items = ItemBuffer()
    items.put(_payloads(1, 2), _decode)
    items.end()
    passed = _claimed(items)
    assert passed.passable
    assert (list(passed.items), passed.failure) == (_payloads(1, 2), None)


def test_what_comes_later_is_handed_over() -> None:
    """With the error after it, which is the reader's, not this reply's."""
    items, told = _open()
    passed = _claimed(items)
    assert not passed.passable
    error = ValueError("half way")
    items.put(_payloads(1), _decode)
    items.end(error)
    assert passed.passable
    assert (list(passed.items), passed.failure, passed.error) == (_payloads(1), error, None)
    del passed
    assert told == [], "it has ended: there is nobody to stop"


async def test_its_feeder_is_told_and_says_where_the_rest_is() -> None:
    """Nobody asks for items here any more."""
    items, _ = _open()
    feeder = asyncio.create_task(items.asked_for())
    await asyncio.sleep(0)
    passed = _claimed(items)
    assert not await asyncio.wait_for(feeder, 10)
    assert items.passed is passed
    items.hand_over(Payload(b"over there"))
    assert passed.payload == Payload(b"over there")
    items.end(ConnectionError("closed later"))
    assert passed.failure is None


def test_who_waits_is_told_once_it_can_be_passed() -> None:
    """By either way, or at once."""
    for finish in (ItemBuffer.end, lambda items: items.hand_over(Payload(b"x"))):
        items, _ = _open()
        passed = _claimed(items)
        told: list[str] = []
        passed.when_settled(partial(told.append, "now"))
        assert told == []
        finish(items)
        assert told == ["now"]
        passed.when_settled(partial(told.append, "again"))
        assert told == ["now", "again"]


def test_a_producer_is_stopped_with_the_last_call_that_may_read() -> None:
    """Not with the generator that was passed, however early that goes."""
    items, told = _open()
    passed = _claimed(items)
    items.drop()
    assert told == []
    items.hand_over(Payload(b"over there"))
    assert told == []
    del passed
    assert told == ["stop"]


def test_a_generator_that_is_cancelled_stops_for_its_reader_too() -> None:
    """Who reads gets the error."""
    items, told = _open()
    passed = _claimed(items)
    items.cancel()
    assert told == ["stop"]
    assert isinstance(passed.failure, RequestCancelledError)


def test_a_mesh_that_is_gone_has_no_producer_to_stop() -> None:
    """The garbage collector is told of no error."""
    items = ItemBuffer()

    def gone() -> None:
        raise NotServingError("gone")

    items.on_cancel = gone
    del items
    items = ItemBuffer()
    items.on_cancel = gone
    passed = _claimed(items)
    del passed
    assert items.ended


def test_one_that_was_never_claimed_changes_nothing() -> None:
    """Pickling made it, and failed at another argument."""
    items, told = _open()
    del told[:]
    PassedStream(items)
    items.put(_payloads(1), _decode)
    assert items.next_blocking(0) == 1
    assert told == []


def test_a_stream_is_passed_once_and_not_after_its_first_item() -> None:
    """Who was first has it."""
    items, _ = _open()
    passed = _claimed(items)
    with pytest.raises(SerializationError, match="passed to another call already"):
        PassedStream(items).claim()
    with pytest.raises(SerializationError, match="which alone has its items"):
        items.next_blocking(0)
    assert items.passed is passed
    begun = ItemBuffer()
    begun.put(_payloads(1, 2), _decode)
    begun.next_blocking(0)
    with pytest.raises(SerializationError, match="of which items were taken"):
        PassedStream(begun).claim()
    assert begun.next_blocking(0) == 2
