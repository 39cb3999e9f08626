"""The least that many callers on one stream need: queues, a task that writes and one that reads.

No pickles, no methods, no choice of a replica: what a link costs before it is of any use.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from benchmarks.measure import Figures, Subject, measure
from benchmarks.plan import Plan
from meshgen.runtime.channel import CLIENT_OPTIONS

Write = Callable[[bytes], Awaitable[Any]]


class _Writer:
    """Messages in the order they were queued, one at a time."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._queue: deque[bytes] = deque()
        self._queued = asyncio.Event()

    def put(self, message: bytes) -> None:
        self._queue.append(message)
        self._queued.set()

    async def run(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                await self._write(self._queue.popleft())


async def answer(_: Any, context: Any) -> None:
    """The server's end: each message is a task, as a call of user code is."""
    writer = _Writer(context.write)
    tasks = {asyncio.create_task(writer.run())}

    async def work(message: bytes) -> None:
        writer.put(message)

    while (message := await context.read()) is not grpc.aio.EOF:
        task = asyncio.create_task(work(message))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    for task in tasks:
        task.cancel()


def measure_multiplexed(address: str, plan: Plan) -> Figures:
    """One round of one stream that many callers share."""
    return asyncio.run(_measure(address, plan))


async def _measure(address: str, plan: Plan) -> Figures:
    async with grpc.aio.insecure_channel(address, options=CLIENT_OPTIONS) as channel:
        stream = channel.stream_stream("/benchmark.Raw/Multiplexed")()
        writer = _Writer(stream.write)
        waiting: deque[asyncio.Future[bytes]] = deque()
        loop = asyncio.get_running_loop()

        async def read() -> None:
            while True:
                message = await stream.read()
                waiting.popleft().set_result(message)

        def echo(payload: bytes) -> Awaitable[bytes]:
            arrived: asyncio.Future[bytes] = loop.create_future()
            waiting.append(arrived)
            writer.put(payload)
            return arrived

        tasks = [asyncio.create_task(writer.run()), asyncio.create_task(read())]
        figures = await measure(Subject(echo=echo), plan)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        stream.cancel()
        return figures
