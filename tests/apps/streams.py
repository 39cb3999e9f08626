"""Generators of every kind, and one that tells what became of it."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment(max_ongoing_requests=100)
class Source:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.times: dict[str, float] = {}
        self.changed = threading.Condition()

    def note(self, event: str) -> None:
        with self.changed:
            self.events.append(event)
            self.times[event] = time.monotonic()
            self.changed.notify_all()

    def until(self, event: str, timeout_s: float) -> bool:
        """Whether an event happened; waits for it."""
        with self.changed:
            return self.changed.wait_for(lambda: event in self.events, timeout_s)

    def time_of(self, event: str, timeout_s: float) -> float:
        """When an event happened, on the clock that all processes of a machine share."""
        assert self.until(event, timeout_s), f"{event} did not happen within {timeout_s} s"
        return self.times[event]

    def noted(self) -> list[str]:
        return list(self.events)

    def sync_generator(self, count: int) -> Iterator[int]:
        yield from range(count)

    async def async_generator(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number

    def returns_generator(self, count: int) -> Any:
        return self.sync_generator(count)

    async def returns_async_generator(self, count: int) -> Any:
        return self.async_generator(count)

    async def pauses(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    def fails_after(self, count: int) -> Iterator[int]:
        yield from range(count)
        raise LookupError(f"after {count}")

    async def fails_async_after(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        raise LookupError(f"after {count}")

    def blocks(self, size: int, count: int) -> Iterator[Any]:
        for number in range(count):
            yield np.full(size, number, dtype="u1")

    async def endless(self, tag: str) -> AsyncIterator[int]:
        number = 0
        try:
            while True:
                self.note(f"{tag} item")
                yield number
                number += 1
                await asyncio.sleep(0.001)
        finally:
            self.note(f"{tag} stopped")

    def endless_sync(self, tag: str) -> Iterator[bytes]:
        try:
            while True:
                self.note(f"{tag} item")
                yield bytes(100_000)
        finally:
            self.note(f"{tag} stopped")

    async def first_then_wait(self, tag: str) -> AsyncIterator[str]:
        yield "first"
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.note(f"{tag} cancelled")
            raise

    async def first_then_waits(self, tag: str) -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            self.note(f"{tag} stopped")

    async def waits_at_once(self, tag: str) -> AsyncIterator[str]:
        self.note(f"{tag} began")
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            self.note(f"{tag} stopped")

    def echo(self, value: Any) -> Any:
        return value

    def unary(self) -> int:
        return 1

    def unpicklable_item(self) -> Iterator[Any]:
        yield 1
        yield threading.Lock()


@serve.deployment
def count(number: int) -> Iterator[int]:
    yield from range(number)


@serve.deployment
class Relay:
    """Passes a stream on, item by item."""

    def __init__(self, source: DeploymentHandle, count: DeploymentHandle) -> None:
        self.source = source.options(stream=True)
        self.handles = {"source": source, "count": count}

    def all(self) -> dict[str, DeploymentHandle]:
        return self.handles

    async def relay(self, method: str, *args: Any) -> AsyncIterator[Any]:
        async for item in self.source.options(method_name=method).remote(*args):
            yield item

    def relay_sync(self, method: str, *args: Any) -> Iterator[Any]:
        yield from self.source.options(method_name=method).remote(*args)

    async def first_of(self, method: str, *args: Any) -> Any:
        async for item in self.source.options(method_name=method).remote(*args):
            return item


app = Relay.bind(Source.bind(), count.bind())
