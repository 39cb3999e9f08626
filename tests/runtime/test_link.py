"""Calls between a caller and a replica, over memory and over loopback gRPC alike."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import random
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest

from meshgen.errors import (
    DeadlineError,
    GeneratorMismatchError,
    RemoteError,
    RemoteTraceback,
    ReplicaLostError,
    RequestCancelledError,
    SerializationError,
)
from meshgen.runtime.replica import Replica
from meshgen.serve.context import current_request
from tests.runtime.replicas import OVER, Mesh, Over, lone_replica, over_tcp, run_here, settle, until

MB = 1 << 20
BOTH = pytest.mark.parametrize("over", OVER)


class _Echo:
    async def echo(self, value: Any = None) -> Any:
        return value

    def plain(self, value: Any) -> Any:
        return value

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    def plain_count(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def arrays(self, sizes: list[int]) -> AsyncIterator[Any]:
        for size in sizes:
            yield np.full(size, size % 256, dtype=np.uint8)

    async def fail(self, error: BaseException) -> None:
        raise error

    async def fail_after(self, n: int, error: BaseException) -> AsyncIterator[int]:
        for number in range(n):
            yield number
        raise error

    async def request(self) -> Any:
        return current_request.get()


async def _value(response: Any) -> Any:
    return await response


async def _items(stream: Any) -> list[Any]:
    return [item async for item in stream]


def _nothing_is_left(replica: Replica) -> None:
    assert replica.occupancy.ongoing == 0
    assert len(replica.uploads) == len(replica.results) == len(replica.streams) == 0


@BOTH
async def test_a_call_has_its_result(over: Over) -> None:
    """`async def` and `def` alike."""
    async with run_here(_Echo, over=over) as mesh:
        assert await mesh.handle.echo.remote({"a": [1]}) == {"a": [1]}
        assert await mesh.handle.plain.remote(2) == 2


@BOTH
async def test_many_calls_at_once_have_each_their_own_result(over: Over) -> None:
    """More than fit into the replica's slots."""
    async with run_here(_Echo, over=over, max_ongoing_requests=7) as mesh:
        replies = [mesh.handle.echo.remote(n) for n in range(500)]
        assert await asyncio.gather(*map(_value, replies)) == list(range(500))
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


@BOTH
@pytest.mark.parametrize("n", [0, 1, 5, 20_000])
@pytest.mark.parametrize("method", ["count", "plain_count"])
async def test_a_stream_has_its_items(over: Over, n: int, method: str) -> None:
    """All of them, in order, however many."""
    async with run_here(_Echo, over=over) as mesh:
        assert await _items(mesh.stream.options(method_name=method).remote(n)) == list(range(n))
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


@BOTH
@pytest.mark.parametrize("megabytes", [5, pytest.param(200, marks=pytest.mark.slow)])
async def test_large_values_travel_each_way(over: Over, megabytes: int) -> None:
    """Bytes in the pickle and arrays beside it; nothing of them is left over."""
    rng = np.random.default_rng(1)
    array = rng.integers(0, 256, megabytes * MB, dtype=np.uint8)
    async with run_here(_Echo, over=over) as mesh:
        back = await mesh.handle.echo.remote(array)
        assert np.array_equal(back, array)
        back[0] = 7  # it belongs to the caller
        del back
        data = array.tobytes()
        assert await mesh.handle.echo.remote(data) == data
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)
        _nothing_is_left(mesh.replicas[0])


@BOTH
async def test_large_items_travel_in_their_place(over: Over) -> None:
    """Between small ones, as the first and as the last."""
    sizes = [MB, 3, 5 * MB, 10, 200_000]
    async with run_here(_Echo, over=over) as mesh:
        found = await _items(mesh.stream.arrays.remote(sizes))
        assert [len(item) for item in found] == sizes
        assert all((item == len(item) % 256).all() for item in found)
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)
        _nothing_is_left(mesh.replicas[0])


@BOTH
@pytest.mark.parametrize("size", [10, MB])
async def test_arguments_and_results_can_be_written_to(over: Over, size: int) -> None:
    """Whatever way they came; the caller's own object stays as it was."""

    class Adder:
        async def add(self, array: Any) -> Any:
            array += 1
            return array

    async with run_here(Adder, over=over) as mesh:
        mine = np.zeros(size, dtype=np.uint8)
        result = await mesh.handle.add.remote(mine)
        result += 1
        assert (result == 2).all() and (mine == 0).all()


@BOTH
async def test_an_exception_arrives_as_its_own_type(over: Over) -> None:
    """Its cause is the traceback over there."""
    async with run_here(_Echo, over=over) as mesh:
        with pytest.raises(KeyError, match="colour") as caught:
            await mesh.handle.fail.remote(KeyError("colour"))
        assert isinstance(caught.value.__cause__, RemoteTraceback)
        assert "in fail" in str(caught.value.__cause__)


@BOTH
@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
async def test_what_would_end_the_replica_is_an_error_to_its_caller(
    over: Over, error: BaseException
) -> None:
    """The replica goes on."""

    class Leaving:
        async def on_loop(self) -> None:
            raise error

        def in_thread(self) -> None:
            raise error

        async def items(self) -> AsyncIterator[int]:
            yield 1
            raise error

        async def fine(self) -> int:
            return 1

    async with run_here(Leaving, over=over) as mesh:
        for method in (mesh.handle.on_loop, mesh.handle.in_thread):
            with pytest.raises(RemoteError, match=type(error).__name__):
                await method.remote()
        stream = mesh.stream.items.remote()
        assert await anext(stream) == 1
        with pytest.raises(RemoteError):
            await anext(stream)
        assert await mesh.handle.fine.remote() == 1


@BOTH
async def test_a_cancelled_error_of_user_code_is_an_answer(over: Over) -> None:
    """A task of its own was cancelled: its caller is told so and does not wait for ever."""

    class Cancelling:
        async def unary(self) -> None:
            raise asyncio.CancelledError

        async def items(self) -> AsyncIterator[int]:
            yield 1
            await asyncio.sleep(0)
            raise asyncio.CancelledError

    async with run_here(Cancelling, over=over) as mesh, asyncio.timeout(10):
        with pytest.raises(RequestCancelledError):
            await mesh.handle.unary.remote()
        with pytest.raises(RequestCancelledError):
            await _items(mesh.stream.items.remote())


@BOTH
@pytest.mark.parametrize("k", [0, 1, 3000])
async def test_an_error_of_a_stream_comes_after_its_items(over: Over, k: int) -> None:
    """K items, then the error."""
    async with run_here(_Echo, over=over) as mesh:
        found = []
        with pytest.raises(ValueError, match="no more"):
            async for item in mesh.stream.fail_after.remote(k, ValueError("no more")):
                found.append(item)
        assert found == list(range(k))


@BOTH
async def test_a_result_that_cannot_be_sent_is_an_error(over: Over) -> None:
    """It names what it was."""

    class Locking:
        async def lock(self) -> Any:
            return threading.Lock()

        async def locks(self) -> AsyncIterator[Any]:
            yield 1
            yield threading.Lock()

    async with run_here(Locking, over=over) as mesh:
        with pytest.raises(SerializationError, match="a value of type lock"):
            await mesh.handle.lock.remote()
        stream = mesh.stream.locks.remote()
        assert await anext(stream) == 1
        with pytest.raises(SerializationError):
            await anext(stream)


@BOTH
async def test_the_request_travels_along(over: Over) -> None:
    """Its id, its route, and who it is for; the deadline as time left."""
    async with run_here(_Echo, over=over) as mesh:
        response = mesh.handle.options(session_id="s", timeout_s=50.0).request.remote()
        request = await response
        assert request.request_id == response.request_id
        assert (request.session_id, request.app_name) == ("s", "default")
        assert 40 < request.time_left() <= 50


@BOTH
async def test_a_generator_called_as_what_it_is_not_is_refused(over: Over) -> None:
    """Also where the stub could not know."""

    class Returning:
        async def items(self) -> Any:
            return (n for n in range(3))

        async def one(self) -> int:
            return 1

    async with run_here(Returning, over=over) as mesh:
        with pytest.raises(GeneratorMismatchError, match="stream=True"):
            await mesh.handle.items.remote()
        with pytest.raises(GeneratorMismatchError, match="returned int"):
            await _items(mesh.stream.one.remote())
        assert await _items(mesh.stream.items.remote()) == [0, 1, 2]


class _Waiting:
    """Waits in every way; notes what it was told."""

    def __init__(self) -> None:
        self.started = 0
        self.ended: list[str] = []

    async def wait(self) -> None:
        self.started += 1
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.ended.append("unary")

    async def items(self, size: int = 1) -> AsyncIterator[bytes]:
        self.started += 1
        try:
            while True:
                yield bytes(size)
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            self.ended.append("stream")

    async def late_items(self) -> AsyncIterator[int]:
        self.started += 1
        try:
            await asyncio.Event().wait()
            yield 1
        finally:
            self.ended.append("stream")


def _object(mesh: Mesh) -> Any:
    return mesh.replicas[0].context.servable_object


@BOTH
async def test_cancelling_reaches_user_code(over: Over) -> None:
    """Its `finally` runs, and its slot is free again."""
    async with run_here(_Waiting, over=over) as mesh:
        response = mesh.handle.wait.remote()
        await until(lambda: _object(mesh).started == 1)
        response.cancel()
        with pytest.raises(RequestCancelledError):
            await response
        await until(lambda: _object(mesh).ended == ["unary"])
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


@BOTH
async def test_a_deadline_reaches_user_code(over: Over) -> None:
    """Nobody waits for what is late."""
    async with run_here(_Waiting, over=over) as mesh:
        with pytest.raises(DeadlineError):
            await mesh.handle.options(timeout_s=0.1).wait.remote()
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


@BOTH
@pytest.mark.parametrize("method", ["items", "late_items"])
@pytest.mark.parametrize("taken", [0, 1, 3])
async def test_cancelling_a_stream_reaches_user_code(over: Over, method: str, taken: int) -> None:
    """Before its first item, after it, and in the midst."""
    if method == "late_items" and taken:
        return
    async with run_here(_Waiting, over=over) as mesh:
        stream = mesh.stream.options(method_name=method).remote()
        for _ in range(taken):
            await anext(stream)
        await until(lambda: _object(mesh).started == 1)
        stream.cancel()
        with pytest.raises(RequestCancelledError):
            await anext(stream)
        await until(lambda: _object(mesh).ended == ["stream"])
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)
        _nothing_is_left(mesh.replicas[0])


@BOTH
async def test_a_stream_that_is_dropped_stops_its_producer(over: Over) -> None:
    """As by `break`."""
    async with run_here(_Waiting, over=over) as mesh:
        async for _ in mesh.stream.items.remote():
            break
        gc.collect()
        await until(lambda: _object(mesh).ended == ["stream"])
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


@BOTH
async def test_a_consumer_that_stops_for_a_while_goes_on_where_it_was(over: Over) -> None:
    """The producer waits, and no item is lost."""
    async with run_here(_Echo, over=over) as mesh:
        stream = mesh.stream.count.remote(50_000)
        assert await anext(stream) == 0
        await settle(1000)
        assert await _items(stream) == list(range(1, 50_000))


@BOTH
async def test_a_slow_consumer_holds_back_the_producer(over: Over) -> None:
    """No more is made than a few buffers hold."""
    made = 0

    class Endless:
        async def items(self) -> AsyncIterator[bytes]:
            nonlocal made
            while True:
                made += 1
                yield bytes(10_000)

    async with run_here(Endless, over=over) as mesh:
        stream = mesh.stream.items.remote()
        await anext(stream)
        previous = -1
        while made != previous:
            previous = made
            await asyncio.to_thread(threading.Event().wait, 0.05)
        assert made * 10_000 < 10 * MB
        stream.cancel()


@BOTH
async def test_a_caller_that_goes_away_takes_its_calls_along(over: Over) -> None:
    """Unary and streaming ones; nothing is left at the replica."""
    async with run_here(_Waiting, over=over, max_ongoing_requests=20) as mesh:
        responses = [mesh.handle.wait.remote() for _ in range(5)]
        streams = [mesh.stream.items.remote() for _ in range(5)]
        large = mesh.stream.items.remote(MB)
        await until(lambda: _object(mesh).started == 11)
        await anext(streams[0])
        await mesh.caller.__aexit__()
        await until(lambda: len(_object(mesh).ended) == 11)
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)
        for response in responses:
            with pytest.raises(ReplicaLostError):
                await response
        for stream in (*streams, large):
            with pytest.raises(ReplicaLostError):
                await _items(stream)
        if over == "loopback":
            _nothing_is_left(mesh.replicas[0])


class _Draining:
    def __init__(self) -> None:
        self.started = 0
        self.go_on = asyncio.Event()

    async def work(self, size: int) -> bytes:
        self.started += 1
        await self.go_on.wait()
        return os.urandom(1) * size

    async def items(self, size: int) -> AsyncIterator[bytes]:
        self.started += 1
        for _ in range(4):
            yield bytes(size)
            await self.go_on.wait()


@BOTH
@pytest.mark.parametrize("size", [1, MB])
async def test_draining_finishes_what_runs(over: Over, size: int) -> None:
    """Results and items that are still to be fetched included; nothing is lost."""
    async with run_here(_Draining, over=over, max_ongoing_requests=20) as mesh:
        responses = [mesh.handle.work.remote(size) for _ in range(10)]
        streams = [mesh.stream.items.remote(size) for _ in range(5)]
        await until(lambda: _object(mesh).started == 15)
        draining = asyncio.create_task(mesh.replicas[0].drain())
        await settle()
        assert not draining.done()
        _object(mesh).go_on.set()
        results = await asyncio.gather(*map(_value, responses))
        items = await asyncio.gather(*map(_items, streams))
        assert [len(result) for result in results] == [size] * 10
        assert [len(item) for found in items for item in found] == [size] * 20
        await draining


@BOTH
async def test_a_replica_that_drains_sends_new_calls_elsewhere(over: Over) -> None:
    """Under load no call fails while one of two replicas leaves."""
    async with run_here(_Echo, over=over, replicas=2, max_ongoing_requests=3) as mesh:
        responses = [mesh.handle.echo.remote(n) for n in range(300)]
        streams = [mesh.stream.count.remote(3) for _ in range(100)]
        await responses[0]
        await mesh.replicas[0].drain()
        responses += [mesh.handle.echo.remote(n) for n in range(300, 400)]
        assert await asyncio.gather(*map(_value, responses)) == list(range(400))
        assert await asyncio.gather(*map(_items, streams)) == [[0, 1, 2]] * 100


async def test_a_server_that_stops_right_after_draining_loses_nothing() -> None:
    """The results of the last calls are large, and fetched when the server is already leaving."""

    class Late:
        async def large(self, n: int) -> bytes:
            return bytes([n]) * (8 * MB)

    async with lone_replica(Late, max_ongoing_requests=20) as replica:
        answers: list[asyncio.Task[bytes]] = []
        async with asyncio.TaskGroup() as group:
            async with over_tcp(replica) as mesh:
                answers = [
                    group.create_task(_value(mesh.handle.large.remote(n))) for n in range(10)
                ]
                await until(lambda: replica.occupancy.ongoing == 10 or any(map(_done, answers)))
                await replica.drain()
                # Leaving the block stops the server and then closes the caller.
                await asyncio.gather(*answers)
        assert [task.result()[0] for task in answers] == list(range(10))


def _done(task: asyncio.Task[Any]) -> bool:
    return task.done()


@BOTH
async def test_a_cancelled_plain_call_keeps_its_slot_until_its_thread_ends(over: Over) -> None:
    """Another call waits for it rather than overload the replica."""
    entered, leave = threading.Event(), threading.Event()

    class Slow:
        def work(self) -> str:
            entered.set()
            leave.wait(10)
            return "worked"

    async with run_here(Slow, over=over, max_ongoing_requests=1) as mesh:
        first = mesh.handle.work.remote()
        await until(entered.is_set)
        first.cancel()
        second = mesh.handle.work.remote()
        await settle(100)
        assert mesh.replicas[0].occupancy.ongoing == 1 and not second.done
        leave.set()
        assert await second == "worked"
        await until(lambda: mesh.replicas[0].occupancy.ongoing == 0)


class _Mixed(_Echo):
    async def endless(self) -> AsyncIterator[int]:
        for number in itertools.count():
            yield number
            await asyncio.sleep(0)

    def plain_endless(self) -> Iterator[int]:
        yield from itertools.count()


async def _whole_call(mesh: Mesh, rng: random.Random) -> None:
    value = rng.choice([1, "x", bytes(100_000)])
    assert await rng.choice([mesh.handle.echo, mesh.handle.plain]).remote(value) == value
    count = rng.randrange(30)
    assert await _items(mesh.stream.count.remote(count)) == list(range(count))


async def _cancelled_call(mesh: Mesh, rng: random.Random) -> None:
    response = mesh.handle.echo.remote(bytes(rng.choice([10, 100_000])))
    await settle(rng.randrange(8))
    response.cancel()


async def _cancelled_stream(mesh: Mesh, rng: random.Random) -> None:
    method = rng.choice(["endless", "plain_endless"])
    stream = mesh.stream.options(method_name=method).remote()
    for _ in range(rng.randrange(4)):
        await anext(stream)
    stream.cancel()


async def _soak(mesh: Mesh, rng: random.Random, calls: int) -> None:
    async def work() -> None:
        for _ in range(calls // 20):
            await rng.choice([_whole_call, _cancelled_call, _cancelled_stream])(mesh, rng)

    await asyncio.gather(*(work() for _ in range(20)))
    await until(lambda: not any(replica.occupancy.ongoing for replica in mesh.replicas))


@BOTH
async def test_nothing_is_left_after_thousands_of_calls(over: Over) -> None:
    """Unary, streaming and cancelled at any moment: slots, payloads, tasks and threads are back."""
    rng = random.Random(7)
    async with run_here(_Mixed, over=over, replicas=2, max_ongoing_requests=8) as mesh:
        for replica in mesh.replicas:
            # Longer than this process is ever stopped between an upload and the call that names it.
            replica.uploads.keep_seconds = replica.results.keep_seconds = 4.0
        await _soak(mesh, rng, 200)
        tasks = len(asyncio.all_tasks())
        await _soak(mesh, rng, 1500)
        await until(lambda: len(asyncio.all_tasks()) <= tasks)
        names = [thread.name for thread in threading.enumerate()]
        assert sum(name.startswith("_Mixed") for name in names) <= 16
        await until(lambda: "close" not in [thread.name for thread in threading.enumerate()])
        for replica in mesh.replicas:
            await until(lambda replica=replica: not replica.uploads and not replica.results)  # type: ignore[misc]
            _nothing_is_left(replica)
