"""One result, many who wait: threads, loops, cancellation, time and late outcomes."""

from __future__ import annotations

import asyncio
import pickle
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.errors import BlockingCallError, DeadlineError, RequestCancelledError
from meshgen.reply import Reply, wake_on
from meshgen.types import DeploymentID, Payload, Token


class _Carrier:
    """Carries out a call that may be given up."""

    def __init__(self, abandon: Callable[[], object]) -> None:
        self._abandon = abandon

    def abandon(self) -> None:
        """Nobody waits any more."""
        self._abandon()

    def keep(self, ready: Callable[[], None]) -> None:
        """It is kept at once."""
        ready()


class _Kept:
    """A value elsewhere, brought here when the test says so."""

    token = Token(DeploymentID("shop", "Cart"), "here", "v")
    payload = None
    error = None

    def __init__(self) -> None:
        self.asked: list[Reply] = []

    def fetch(self, reply: Reply) -> None:
        """Note who wants it."""
        self.asked.append(reply)


def _payload(value: Any) -> Payload:
    return Payload(pickle.dumps(value))


def _decode(payload: Payload) -> Any:
    return pickle.loads(payload.pickle)


def _answered(value: Any) -> Reply:
    reply = Reply()
    reply.resolve(_payload(value), _decode)
    return reply


async def _waiting(reply: Reply, tasks: int) -> list[asyncio.Task[Any]]:
    """Tasks that already wait for the reply."""

    async def wait() -> Any:
        return await reply

    started = [asyncio.create_task(wait()) for _ in range(tasks)]
    await _settle()
    return started


async def _settle() -> None:
    """Let everything that is ready on this loop run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_result_can_be_awaited_many_times() -> None:
    """Every await gives the very same object: it is decoded once."""
    reply = _answered({"a": 1})
    assert await reply is await reply


async def test_tasks_that_wait_all_get_the_result() -> None:
    """One outcome wakes everybody."""
    reply = Reply()
    tasks = await _waiting(reply, 3)
    reply.resolve(_payload([5]), _decode)
    first, second, third = await asyncio.gather(*tasks)
    assert first is second is third


async def test_gather_takes_replies_as_they_are() -> None:
    """They are awaitables like any other."""
    assert [*await asyncio.gather(_answered(1), _answered(2))] == [1, 2]


async def test_an_outcome_from_another_thread_wakes_the_loop() -> None:
    """The link may live on a thread of its own."""
    reply = Reply()
    (task,) = await _waiting(reply, 1)
    await asyncio.to_thread(reply.resolve, _payload("late"), _decode)
    assert await task == "late"


def test_two_loops_can_wait_for_one_reply() -> None:
    """A response may be passed between threads that run loops of their own."""
    reply = Reply()
    both_wait = threading.Barrier(3)

    async def wait() -> Any:
        (task,) = await _waiting(reply, 1)
        both_wait.wait(10)
        return await task

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(asyncio.run, wait()) for _ in range(2)]
        both_wait.wait(10)
        reply.resolve(_payload(7), _decode)
        assert [future.result(10) for future in futures] == [7, 7]


@pytest.mark.parametrize("same_thread", [True, False])
def test_an_outcome_for_a_closed_loop_is_dropped(same_thread: bool) -> None:
    """Whoever brings the outcome does not suffer from a waiter that left without a word."""
    reply = Reply()

    async def subscribe() -> None:
        wake_on(reply.add_done_callback).add_done_callback(print)

    loop = asyncio.new_event_loop()
    loop.run_until_complete(subscribe())
    loop.close()
    with ThreadPoolExecutor(1) as pool:
        if same_thread:
            reply.resolve(_payload(1), _decode)
        else:
            pool.submit(reply.resolve, _payload(1), _decode).result(10)
    assert reply.wait(0) == 1


def test_result_blocks_until_another_thread_answers() -> None:
    """`.result()` is for threads without a loop."""
    reply = Reply()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(reply.wait, 10)
        reply.resolve(_payload(3), _decode)
        assert waiting.result(10) == 3
    assert reply.wait(None) == 3


async def test_a_blocking_wait_is_refused_on_a_loop() -> None:
    """Even for a result that is there: the same code would block another time."""
    with pytest.raises(BlockingCallError, match="use `await response` instead"):
        _answered(1).wait(None)


@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_a_wait_without_result_in_time_fails_and_the_call_goes_on(timeout: float) -> None:
    """A timeout is a TimeoutError, asks nobody to stop and leaves nothing behind."""
    reply, stopped = Reply(), threading.Event()
    reply.carrier = _Carrier(stopped.set)
    with pytest.raises(TimeoutError, match="still running") as caught:
        reply.wait(timeout)
    assert isinstance(caught.value, DeadlineError)
    assert not stopped.is_set() and not reply.done
    assert not reply._callbacks
    reply.resolve(_payload(4), _decode)
    assert reply.wait(timeout) == 4


@pytest.mark.parametrize("late", ["resolve", "fail", "cancel"])
def test_only_the_first_outcome_counts(late: str) -> None:
    """What comes later is ignored, silently."""
    reply = _answered(1)
    {
        "resolve": lambda: reply.resolve(_payload(2), _decode),
        "fail": lambda: reply.fail(ValueError("too late")),
        "cancel": reply.cancel,
    }[late]()
    assert reply.wait(0) == 1


def test_a_cancelled_reply_says_so_even_if_the_result_was_there() -> None:
    """`cancelled()` tells whether somebody cancelled; the result stays."""
    reply = _answered(1)
    assert not reply.cancelled()
    reply.cancel()
    assert reply.cancelled()
    assert reply.wait(0) == 1


def test_a_result_after_cancel_is_ignored() -> None:
    """Who cancelled does not get a value by accident; the far side is told once."""
    reply, told = Reply(), list[int]()
    reply.carrier = _Carrier(lambda: told.append(1))
    reply.cancel()
    reply.cancel()
    reply.resolve(_payload(1), _decode)
    with pytest.raises(RequestCancelledError):
        reply.wait(0)
    assert told == [1]


def test_the_far_side_cannot_answer_its_own_cancellation() -> None:
    """A carrier that fails the reply from `abandon` does not hide why it ended."""
    reply = Reply()
    reply.carrier = _Carrier(lambda: reply.fail(ValueError("connection closed")))
    reply.cancel()
    with pytest.raises(RequestCancelledError):
        reply.wait(0)


async def test_cancelling_the_only_waiter_cancels_the_call() -> None:
    """Nobody waits any more: the work may stop."""
    reply, told = Reply(), asyncio.Event()
    reply.carrier = _Carrier(told.set)
    (task,) = await _waiting(reply, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told.is_set() and reply.cancelled()


async def test_only_the_last_waiter_cancels_the_call() -> None:
    """One waiter that leaves does not take the result from the others."""
    reply = Reply()
    first, second = await _waiting(reply, 2)
    first.cancel()
    await _settle()
    assert not reply.cancelled()
    second.cancel()
    await _settle()
    assert reply.cancelled()


async def test_waiters_cancelled_together_cancel_the_call() -> None:
    """Each of two leaves in the same step of the loop; the second is the last."""
    reply = Reply()
    group = asyncio.gather(*await _waiting(reply, 2))
    group.cancel()
    with pytest.raises(asyncio.CancelledError):
        await group
    assert reply.cancelled()


class _Watched(Reply):
    """Tells when somebody has subscribed to it."""

    def __init__(self) -> None:
        super().__init__()
        self.subscribed = threading.Event()

    def join(self, callback: Callable[[], None]) -> None:
        """And tell."""
        super().join(callback)
        self.subscribed.set()


async def test_a_blocked_thread_counts_as_a_waiter() -> None:
    """A task that gives up does not cancel the call under a thread in `.result()`."""
    reply = _Watched()
    blocked = asyncio.create_task(asyncio.to_thread(reply.wait, 10))
    await asyncio.to_thread(reply.subscribed.wait, 10)
    (task,) = await _waiting(reply, 1)
    task.cancel()
    await _settle()
    assert not reply.cancelled()
    reply.resolve(_payload("both"), _decode)
    assert await blocked == "both"


async def test_wait_for_cancels_the_call() -> None:
    """Running out of time there means that nobody waits any more (Ray Serve lets it run on)."""
    reply = Reply()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reply, 0.001)
    assert reply.cancelled()


async def test_shield_keeps_the_call_running() -> None:
    """The way to wait for some time and come back."""
    reply = Reply()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(reply), 0.001)
    assert not reply.cancelled()
    reply.resolve(_payload(1), _decode)
    assert await reply == 1
    await _settle()


async def test_a_callback_runs_when_the_outcome_comes_or_at_once() -> None:
    """Late subscribers are not forgotten."""
    reply, calls = Reply(), list[str]()
    reply.add_done_callback(lambda: calls.append("early"))
    assert calls == []
    reply.resolve(_payload(1), _decode)
    reply.add_done_callback(lambda: calls.append("late"))
    assert calls == ["early", "late"]


async def test_an_error_is_raised_at_every_wait_and_does_not_grow() -> None:
    """The same exception each time, with a traceback of this raise only."""
    reply = Reply()
    reply.fail(KeyError("gone"))
    depths, errors = [], set()
    for _ in range(3):
        with pytest.raises(KeyError, match="gone") as caught:
            await reply
        depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
        errors.add(id(caught.value))
    assert len(set(depths)) == 1 and len(errors) == 1


async def test_an_error_keeps_the_traceback_it_came_with() -> None:
    """Where a mesh of this process raised it stays visible."""

    def break_down() -> None:
        raise ValueError("here")

    reply = Reply()
    try:
        break_down()
    except ValueError as exc:
        reply.fail(exc)
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            await reply
        frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
        assert frames.count("break_down") == 1


async def test_a_result_that_cannot_be_decoded_fails_the_same_way_each_time() -> None:
    """Decoding is tried once: its error is the outcome."""
    tries = []

    def broken(payload: Payload) -> Any:
        tries.append(payload)
        raise ModuleNotFoundError("no module 'shop'")

    reply = Reply()
    reply.resolve(_payload(1), broken)
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError):
            await reply
    assert len(tries) == 1


def test_threads_that_decode_together_decode_once() -> None:
    """Two threads asking at the same moment get one and the same object."""
    decoding, asked, tries = threading.Event(), threading.Event(), list[object]()

    def slow(payload: Payload) -> Any:
        tries.append(payload)
        decoding.set()
        asked.wait(10)
        return object()

    reply = Reply()
    reply.resolve(_payload(None), slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(reply.value)
        assert decoding.wait(10)
        second = pool.submit(reply.value)
        asked.set()
        assert first.result(10) is second.result(10)
    assert len(tries) == 1


def test_of_racing_outcomes_exactly_one_wins() -> None:
    """However they race, each reader sees the same outcome and callbacks run once."""
    with ThreadPoolExecutor(3) as pool:
        for _ in range(200):
            reply, calls, start = Reply(), list[int](), threading.Barrier(3)
            reply.add_done_callback(partial(calls.append, 1))
            list(pool.map(_after(start), _outcomes(reply)))
            assert calls == [1]
            assert _seen(reply) == _seen(reply)


def _after(start: threading.Barrier) -> Callable[[Callable[[], None]], None]:
    def run(outcome: Callable[[], None]) -> None:
        start.wait(10)
        outcome()

    return run


def _outcomes(reply: Reply) -> list[Callable[[], None]]:
    return [
        lambda: reply.resolve(_payload(1), _decode),
        lambda: reply.fail(ValueError("no")),
        reply.cancel,
    ]


def _seen(reply: Reply) -> str:
    try:
        return repr(reply.wait(0))
    except (ValueError, RequestCancelledError) as exc:
        return repr(exc)


@given(st.lists(st.sampled_from(["resolve", "fail", "cancel", "callback", "read"]), max_size=12))
def test_in_any_order_of_events_the_first_outcome_stays(events: list[str]) -> None:
    """What is read never changes, and every callback runs once, after the outcome."""
    reply, calls, expected = Reply(), list[int](), ""
    resolve, fail, cancel = _outcomes(reply)
    outcome = {"resolve": "1", "fail": "ValueError('no')"}
    callbacks = 0
    for event in events:
        steps: dict[str, Callable[[], None]] = {
            "resolve": resolve,
            "fail": fail,
            "cancel": cancel,
            "callback": partial(reply.add_done_callback, partial(calls.append, 1)),
            "read": lambda: None,
        }
        steps[event]()
        callbacks += event == "callback"
        if event in ("resolve", "fail", "cancel"):
            expected = expected or outcome.get(event, "RequestCancelledError")
        assert reply.done == bool(expected)
        assert len(calls) == (callbacks if expected else 0)
        if expected:
            assert _seen(reply).startswith(expected)
    assert reply.cancelled() == ("cancel" in events)
