"""Streams that are passed to another deployment, and one that tells what it does with them."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle
from tests.apps.streams import Source


@serve.deployment(max_ongoing_requests=100)
class Sink:
    """Reads what it is passed."""

    def __init__(self, following: DeploymentHandle | None = None) -> None:
        self.following = following
        self.kept: asyncio.Task[Any] | None = None

    async def all(self, stream: AsyncIterator[Any]) -> list[Any]:
        return [item async for item in stream]

    def all_sync(self, stream: Iterator[Any]) -> list[Any]:
        return list(stream)

    async def sizes(self, stream: AsyncIterator[bytes]) -> list[int]:
        return [len(item) async for item in stream]

    async def all_of_each(self, streams: list[AsyncIterator[Any]]) -> list[list[Any]]:
        return [[item async for item in stream] for stream in streams]

    async def doubled(self, stream: AsyncIterator[int]) -> AsyncIterator[int]:
        async for item in stream:
            yield 2 * item

    def doubled_sync(self, stream: Iterator[int]) -> Iterator[int]:
        for item in stream:
            yield 2 * item

    async def ignores(self, stream: AsyncIterator[Any]) -> str:
        return "ignored"

    async def first(self, stream: AsyncIterator[Any]) -> Any:
        async for item in stream:
            return item

    async def some(self, stream: AsyncIterator[Any], count: int) -> list[Any]:
        return [await anext(stream) for _ in range(count)]

    async def waits_within(self, stream: AsyncIterator[Any]) -> None:
        async for _ in stream:
            await asyncio.Event().wait()

    def waits_for_more(self, stream: Iterator[Any]) -> None:
        for _ in stream:
            pass

    async def keeps_reading(self, stream: AsyncIterator[Any]) -> None:
        self.kept = asyncio.create_task(self.all(stream))

    async def outcome_of_kept(self) -> str:
        assert self.kept is not None
        await asyncio.wait((self.kept,))
        return type(self.kept.exception()).__name__

    async def items_before_error(self, stream: AsyncIterator[Any]) -> tuple[list[Any], str]:
        items = []
        try:
            async for item in stream:
                items.append(item)
        except Exception as exc:
            return items, f"{type(exc).__name__}: {exc}"
        return items, ""

    async def outlives(
        self, stream: AsyncIterator[Any], count: int, source: DeploymentHandle
    ) -> tuple[list[Any], str]:
        """Has the process that makes the items end once so many of them are here."""
        items = [await anext(stream) for _ in range(count)]
        source.die.remote()
        rest, error = await self.items_before_error(stream)
        return items + rest, error

    async def passes_on(self, stream: AsyncIterator[Any]) -> Any:
        assert self.following is not None
        return await self.following.options(compose_streams=True).all.remote(stream)

    async def passes_on_too_late(self, stream: AsyncIterator[Any]) -> Any:
        assert self.following is not None
        await anext(stream)
        return await self.following.options(compose_streams=True).all.remote(stream)

    async def yields_it(self, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        yield stream

    async def returns_it(self, stream: AsyncIterator[Any]) -> Any:
        return stream


@serve.deployment
class Fragile:
    """A source that takes its whole process with it."""

    async def waits_after(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        await asyncio.Event().wait()

    async def die(self) -> None:
        os._exit(3)

    async def dies_reading(self, stream: AsyncIterator[Any]) -> None:
        await anext(stream)
        os._exit(3)


@serve.deployment
class Ingress:
    """Brings a source and a sink together."""

    def __init__(self, **handles: DeploymentHandle) -> None:
        self.handles = handles

    def all(self) -> dict[str, DeploymentHandle]:
        return self.handles

    async def compose(self, method: str, reader: str, *args: Any) -> Any:
        stream = self.handles["source"].options(stream=True, method_name=method).remote(*args)
        sink = self.handles["sink"].options(compose_streams=True, method_name=reader)
        return await sink.remote(stream)


app = Ingress.bind(
    source=Source.bind(), sink=Sink.bind(Sink.options(name="Last").bind()), fragile=Fragile.bind()
)
