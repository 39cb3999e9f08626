"""What a call through a handle returns: a value to come, or a stream of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from meshgen import raybridge
from meshgen.errors import (
    DeadlineError,
    GeneratorMismatchError,
    NotServingError,
    SerializationError,
)
from meshgen.items import ItemBuffer
from meshgen.objectref import ObjectRef, Reduced, leave_note, this_thread
from meshgen.objectrefgenerator import ObjectRefGenerator
from meshgen.passedstream import PassedStream
from meshgen.reply import Reply, refuse_in_event_loop, wake_on

# What is to come of a narrower type will do where a wider one is asked for.
T = TypeVar("T", covariant=True)


class DeploymentResponse(Reply, Generic[T]):
    """The result of a unary call, which runs whether or not anybody waits for it.

    `await` it (any number of times, from any loop), or call `.result()` where no loop runs.
    """

    def __init__(self, request_id: str) -> None:
        super().__init__()
        self.request_id = request_id

    if TYPE_CHECKING:  # a layer that every call would go through

        def __await__(self) -> Generator[Any, None, T]: ...

    def result(self, *, timeout_s: float | None = None) -> T:
        """Block until the result is here and return it. Repeatable.

        Raises:
            BlockingCallError: An event loop runs in this thread; `await` the response instead.
            DeadlineError: It did not come within `timeout_s` seconds; the call goes on.
        """
        value: T = self.wait(timeout_s)
        return value

    async def _to_object_ref(self) -> ObjectRef[T]:
        """A reference to the result, as soon as the call has a replica.

        One of Ray's, a `ray.ObjectRef`, where this process is connected to a Ray.
        """
        if (ray := raybridge.session()) is not None:
            ref: ObjectRef[T] = await asyncio.to_thread(raybridge.to_ray, self, ray)
            return ref
        if not self.passable:
            await wake_on(self._when_passable)
        return ObjectRef(self)

    def _to_object_ref_sync(self, _timeout_s: float | None = None) -> ObjectRef[T]:
        """A reference to the result, as soon as the call has a replica; blocks until then.

        One of Ray's, a `ray.ObjectRef`, where this process is connected to a Ray.

        Raises:
            BlockingCallError: An event loop runs in this thread.
            DeadlineError: There was none within that many seconds.
        """
        refuse_in_event_loop("response._to_object_ref_sync()", "await response._to_object_ref()")
        if (ray := raybridge.session()) is not None:
            ref: ObjectRef[T] = raybridge.to_ray(self, ray)
            return ref
        ready = threading.Event()
        self._when_passable(ready.set)
        if not ready.wait(_timeout_s):
            raise DeadlineError(f"no replica took the call within {_timeout_s} s")
        return ObjectRef(self)

    def _when_passable(self, callback: Callable[[], None]) -> None:
        carrier = self.carrier
        if carrier is None:
            callback()
        else:
            carrier.keep(callback)

    def __reduce_ex__(self, protocol: Any) -> Reduced:
        return leave_note(self)

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done else "pending"
        return f"DeploymentResponse(request_id={self.request_id!r}, {state})"


class DeploymentResponseGenerator(Generic[T]):
    """The items of a streaming call: `async for` in a loop, `for` elsewhere.

    One that is dropped before its end, as by `break`, stops the producer. A call by
    `handle.options(compose_streams=True)` takes it as an argument, before its first item is taken:
    the callee gets an iterator as this one, which ends with that call.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.items = ItemBuffer()
        self._cancelled = False

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        item: T = await self.items.next()
        return item

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        item: T = self.items.next_blocking()
        return item

    def __await__(self) -> NoReturn:
        raise GeneratorMismatchError(
            "a DeploymentResponseGenerator cannot be awaited: use `async for item in response`"
        )

    def result(self, *, timeout_s: float | None = None) -> NoReturn:
        """Refused: a stream has items, not one result."""
        raise GeneratorMismatchError(
            "a DeploymentResponseGenerator has no result(): use `for item in response`"
        )

    def cancel(self) -> None:
        """Stop the producer. Idempotent."""
        self._cancelled = True
        self.items.cancel()

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    async def _to_object_ref_gen(self) -> ObjectRefGenerator[T]:
        """The items as `ObjectRef`s, each as soon as it arrives."""
        return ObjectRefGenerator(self.items, self)

    def _to_object_ref_gen_sync(self) -> ObjectRefGenerator[T]:
        """The items as `ObjectRef`s, each as soon as it arrives.

        Raises:
            BlockingCallError: An event loop runs in this thread.
        """
        refuse_in_event_loop(
            "response._to_object_ref_gen_sync()", "await response._to_object_ref_gen()"
        )
        return ObjectRefGenerator(self.items, self)

    def __del__(self) -> None:
        # Nobody is left to take items: a producer that waits for that would never leave its slot.
        with suppress(NotServingError):  # the mesh is gone already, and the producer with it
            self.items.drop()

    def __reduce_ex__(self, protocol: Any) -> Reduced:
        if not this_thread.composes:
            raise SerializationError(
                "a DeploymentResponseGenerator cannot be passed to another call, unless that is "
                "made by handle.options(compose_streams=True); else iterate it and pass its items"
            )
        self.items.refuse_to_pass()
        return leave_note(PassedStream(self.items), by_value=True)

    def __repr__(self) -> str:
        return f"DeploymentResponseGenerator(request_id={self.request_id!r})"
