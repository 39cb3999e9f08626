"""A deployment that puts values and takes references."""

import asyncio
import pickle
from typing import Any

import meshgen
from meshgen import serve

# More than a link carries in a frame.
LARGE = 100_000


@serve.deployment(max_ongoing_requests=20)
class Box:
    async def describe(self, value: Any) -> tuple[str, int]:
        return type(value).__name__, len(value)

    async def describe_all(self, refs: list[Any]) -> list[Any]:
        return [part for ref in refs for part in (type(ref).__name__, len(await ref))]

    async def put(self, size: int) -> Any:
        return meshgen.put(bytes(size))

    def put_and_get_in_thread(self, size: int) -> list[int]:
        refs = [meshgen.put(bytes(size)), meshgen.put(bytes(2 * size))]
        return [len(value) for value in meshgen.get(refs)]

    async def later(self, size: int) -> bytes:
        await asyncio.sleep(0.01)
        return bytes(size)

    async def sizes_in(self, refs: dict[str, Any]) -> dict[str, int]:
        return {name: len(await ref) for name, ref in refs.items()}

    async def unpickle(self, saved: bytes) -> int:
        return len(await pickle.loads(saved))

    async def never(self) -> None:
        await asyncio.Event().wait()

    async def fail(self) -> None:
        raise KeyError("no such thing")


app = Box.bind()
