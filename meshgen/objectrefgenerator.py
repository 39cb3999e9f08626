"""`ObjectRefGenerator`: the items of a stream as references."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any, Generic, NoReturn, TypeVar

from meshgen import raybridge
from meshgen.errors import SerializationError
from meshgen.items import ItemBuffer
from meshgen.objectref import ObjectRef

T = TypeVar("T")


class ObjectRefGenerator(Generic[T]):
    """An `ObjectRef` for each item of a stream as it arrives: `async for` in a loop, else `for`.

    It takes the items in place of the response that it was made of, and stops the producer as that
    does when it is dropped before the end. An item is unpickled when its reference is asked for it.
    Where this process is connected to a Ray, the references are Ray's.
    """

    def __init__(self, items: ItemBuffer, stream: object) -> None:
        self._items = items
        # Stops the producer once nobody holds it.
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[ObjectRef[T]]:
        return self

    async def __anext__(self) -> ObjectRef[T]:
        reply = await self._items.next_reply()
        if (ray := raybridge.session()) is not None:
            ref: ObjectRef[T] = await asyncio.to_thread(raybridge.to_ray, reply, ray)
            return ref
        return ObjectRef(reply)

    def __iter__(self) -> Iterator[ObjectRef[T]]:
        return self

    def __next__(self) -> ObjectRef[T]:
        reply = self._items.next_reply_blocking()
        if (ray := raybridge.session()) is not None:
            ref: ObjectRef[T] = raybridge.to_ray(reply, ray)
            return ref
        return ObjectRef(reply)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise SerializationError(
            "an ObjectRefGenerator cannot be passed to another call: pass on the references in it"
        )

    def __repr__(self) -> str:
        return f"ObjectRefGenerator({self._stream!r})"
