"""A stream's items: order, ends, slow consumers, cancellation, threads and loops."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.errors import BlockingCallError, DeadlineError, RequestCancelledError
from meshgen.items import ItemBuffer
from meshgen.types import Payload


def _payloads(*numbers: int) -> list[Payload]:
    return [Payload(str(number).encode()) for number in numbers]


def _decode(payload: Payload) -> int:
    return int(bytes(payload.pickle))


def _filled(*numbers: int) -> ItemBuffer:
    items = ItemBuffer()
    items.put(_payloads(*numbers), _decode)
    return items


def _remaining(items: ItemBuffer) -> list[int]:
    return list(iter(lambda: _next(items), None))


def _next(items: ItemBuffer) -> int | None:
    try:
        number: int = items.next_blocking(0)
    except StopIteration:
        return None
    return number


async def _settle() -> None:
    """Let everything that is ready on this loop run."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_items_come_out_in_order_and_then_the_end_again_and_again() -> None:
    """An exhausted stream stays exhausted, as any iterator."""
    items = _filled(1, 2)
    items.put(_payloads(3), _decode)
    items.end()
    assert _remaining(items) == [1, 2, 3]
    assert _remaining(items) == []


def test_an_error_comes_after_the_items_before_it_and_only_once() -> None:
    """What was produced is not lost; after the error the stream is exhausted."""
    items = _filled(1, 2)
    items.end(ValueError("half way"))
    assert [_next(items), _next(items)] == [1, 2]
    with pytest.raises(ValueError, match="half way"):
        _next(items)
    assert _next(items) is None


def test_only_the_first_end_counts() -> None:
    """A broken connection after the last item is no error of the stream."""
    items = _filled(1)
    items.end()
    items.end(ConnectionError("closed"))
    assert _remaining(items) == [1]


def test_an_item_that_cannot_be_decoded_fails_alone() -> None:
    """The next one is still there."""
    items = ItemBuffer()
    items.put([Payload(b"x"), *_payloads(2)], _decode)
    with pytest.raises(ValueError, match="invalid literal"):
        _next(items)
    assert _next(items) == 2


async def test_a_waiting_task_wakes_for_an_item_from_another_thread() -> None:
    """The feeder lives on the link's thread."""
    items = ItemBuffer()
    task = asyncio.create_task(items.next())
    await _settle()
    await asyncio.to_thread(items.put, _payloads(5), _decode)
    assert await task == 5
    items.end()
    with pytest.raises(StopAsyncIteration):
        await items.next()


def test_a_waiting_thread_wakes_for_an_item_and_for_the_end() -> None:
    """`for` in a thread blocks exactly as long as it must."""
    items = ItemBuffer()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(items.next_blocking, 10)
        items.put(_payloads(6), _decode)
        assert waiting.result(10) == 6
        ending = pool.submit(_next_within, items)
        items.end()
        assert ending.result(10) == "end"


def _next_within(items: ItemBuffer) -> object:
    try:
        return items.next_blocking(10)
    except StopIteration:  # which a Future cannot carry
        return "end"


async def test_blocking_is_refused_on_a_loop() -> None:
    """Even where an item is there: the next one might not be."""
    with pytest.raises(BlockingCallError, match="use `async for item in response` instead"):
        _filled(1).next_blocking()


def test_no_item_in_time_is_a_timeout_and_the_stream_stays_open() -> None:
    """The item that comes later is not lost."""
    items = ItemBuffer()
    with pytest.raises(DeadlineError, match="still open"):
        items.next_blocking(0)
    items.put(_payloads(1), _decode)
    assert items.next_blocking(0) == 1


async def test_a_cancelled_wait_loses_no_item() -> None:
    """`wait_for` around `anext` gives up the wait, not the stream."""
    items, told = ItemBuffer(), threading.Event()
    items.on_cancel = told.set
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(items.next(), 0.001)
    items.put(_payloads(1), _decode)
    assert await items.next() == 1
    assert not told.is_set()


async def test_a_feeder_waits_for_a_slow_consumer() -> None:
    """`drained` returns when the last item is taken, not before."""
    items = _filled(1, 2)
    feeder = asyncio.create_task(items.drained())
    await _settle()
    assert await items.next() == 1
    await _settle()
    assert not feeder.done()
    assert await items.next() == 2
    await asyncio.wait_for(feeder, 10)


@pytest.mark.parametrize("finish", [ItemBuffer.cancel, ItemBuffer.end])
async def test_a_feeder_does_not_wait_for_an_ended_stream(
    finish: Callable[[ItemBuffer], None],
) -> None:
    """Who cancels takes no more items: the feeder must not hang."""
    items = _filled(1)
    feeder = asyncio.create_task(items.drained())
    await _settle()
    finish(items)
    await asyncio.wait_for(feeder, 10)
    await asyncio.wait_for(items.drained(), 10)


async def test_nothing_to_take_is_drained() -> None:
    """A feeder of an empty stream goes on at once."""
    await asyncio.wait_for(ItemBuffer().drained(), 10)


def test_cancel_stops_the_producer_once_and_drops_what_is_there() -> None:
    """The consumer gets the error next, then the end."""
    items, told = _filled(1, 2), list[int]()
    items.on_cancel = lambda: told.append(1)
    items.cancel()
    items.cancel()
    with pytest.raises(RequestCancelledError):
        _next(items)
    assert _next(items) is None
    assert told == [1]


def test_items_that_arrive_after_cancel_are_dropped() -> None:
    """The producer's last message may cross the cancellation on its way."""
    items = ItemBuffer()
    items.cancel()
    items.put(_payloads(1), _decode)
    with pytest.raises(RequestCancelledError):
        _next(items)
    assert _next(items) is None


def test_cancel_after_the_end_changes_nothing() -> None:
    """The items are here already: there is nobody to stop."""
    items, told = _filled(1), threading.Event()
    items.on_cancel = told.set
    items.end()
    items.cancel()
    assert _remaining(items) == [1]
    assert not told.is_set()


async def test_cancel_wakes_who_waits() -> None:
    """A consumer in another task does not hang."""
    items = ItemBuffer()
    task = asyncio.create_task(items.next())
    await _settle()
    items.cancel()
    with pytest.raises(RequestCancelledError):
        await task


async def test_two_consumers_share_the_items() -> None:
    """Each item goes to one of them, and neither ends before the stream does."""
    items = ItemBuffer()
    tasks = [asyncio.create_task(items.next()) for _ in range(2)]
    await _settle()
    items.put(_payloads(1), _decode)
    await _settle()
    assert sum(task.done() for task in tasks) == 1
    items.put(_payloads(2), _decode)
    assert sorted(await asyncio.gather(*tasks)) == [1, 2]


def test_threads_that_consume_together_get_every_item_once() -> None:
    """With a feeder that waits for `drained`, nothing is lost, doubled or stuck."""
    items = ItemBuffer()

    async def feed() -> None:
        for start in range(0, 3000, 3):
            await items.drained()
            items.put(_payloads(start, start + 1, start + 2), _decode)
        items.end()

    with ThreadPoolExecutor(4) as pool:
        taken = [pool.submit(_take_all, items) for _ in range(3)]
        pool.submit(asyncio.run, feed()).result(30)
        got = [number for future in taken for number in future.result(30)]
    assert sorted(got) == list(range(3000))


def _take_all(items: ItemBuffer) -> list[int]:
    got = []
    while isinstance(item := _next_within(items), int):
        got.append(item)
    return got


_EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.integers(0, 99), max_size=3)),
        st.tuples(st.sampled_from(["take", "end", "fail", "cancel"]), st.just([])),
    ),
    max_size=20,
)


@given(_EVENTS)
def test_any_interleaving_behaves_as_a_queue_with_one_end(
    events: list[tuple[str, list[int]]],
) -> None:
    """Held against a model of four lines: what is in it, and what its end was."""
    items, model = ItemBuffer(), _Model()
    for event, numbers in events:
        if event == "take":
            assert _outcome(items) == model.take()
        elif event == "put":
            items.put(_payloads(*numbers), _decode)
            model.put(numbers)
        else:
            {"end": items.end, "fail": lambda: items.end(ValueError()), "cancel": items.cancel}[
                event
            ]()
            model.end(event)


class _Model:
    """What the buffer promises, without threads."""

    def __init__(self) -> None:
        self.left: deque[int] = deque()
        self.ends: list[object] = []

    def put(self, numbers: list[int]) -> None:
        if not self.ends:
            self.left.extend(numbers)

    def end(self, how: str) -> None:
        if self.ends:
            return
        if how == "cancel":
            self.left.clear()
        if how != "end":
            self.ends.append(ValueError if how == "fail" else RequestCancelledError)
        self.ends.append(StopIteration)

    def take(self) -> object:
        if self.left:
            return self.left.popleft()
        if not self.ends:
            return DeadlineError
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]


def _outcome(items: ItemBuffer) -> object:
    try:
        return items.next_blocking(0)
    except Exception as exc:
        return type(exc)


async def test_a_feeder_waits_until_items_are_asked_for() -> None:
    """Nothing large is fetched for a stream that nobody consumes."""
    items = ItemBuffer()
    feeder = asyncio.create_task(items.asked_for())
    await _settle()
    assert not feeder.done()
    consumer = asyncio.create_task(items.next())
    assert await asyncio.wait_for(feeder, 10)
    assert await items.asked_for()
    items.put(_payloads(1), _decode)
    assert await consumer == 1


@pytest.mark.parametrize("finish", [ItemBuffer.cancel, ItemBuffer.end])
async def test_nobody_asks_for_items_of_an_ended_stream(
    finish: Callable[[ItemBuffer], None],
) -> None:
    """Its feeder is told so, and does not hang."""
    items = ItemBuffer()
    feeder = asyncio.create_task(items.asked_for())
    await _settle()
    finish(items)
    assert not await asyncio.wait_for(feeder, 10)
    assert not await items.asked_for()


async def test_an_item_is_taken_without_being_decoded() -> None:
    """Who asks for its value gets it, or what is wrong with it; in a loop and in a thread."""
    items = ItemBuffer()
    items.put([Payload(b"x"), *_payloads(2)], _decode)
    items.end()
    broken = await items.next_reply()
    assert (await asyncio.to_thread(items.next_reply_blocking)).value() == 2
    with pytest.raises(ValueError, match="invalid literal"):
        await broken
    with pytest.raises(StopAsyncIteration):
        await items.next_reply()
