"""What a call through a handle returns: a value to come, or a stream of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import suppress
from typing import Any, Generic, NoReturn, TypeVar

from meshgen.errors import GeneratorMismatchError, NotServingError, SerializationError
from meshgen.items import ItemBuffer
from meshgen.reply import Reply

T = TypeVar("T")


class DeploymentResponse(Reply, Generic[T]):
    """The result of a unary call, which runs whether or not anybody waits for it.

    `await` it (any number of times, from any loop), or call `.result()` where no loop runs.
    """

    def __init__(self, request_id: str) -> None:
        super().__init__()
        self.request_id = request_id

    def __await__(self) -> Generator[Any, None, T]:
        return super().__await__()

    def result(self, *, timeout_s: float | None = None) -> T:
        """Block until the result is here and return it. Repeatable.

        Raises:
            BlockingCallError: An event loop runs in this thread; `await` the response instead.
            DeadlineError: It did not come within `timeout_s` seconds; the call goes on.
        """
        value: T = self.wait(timeout_s)
        return value

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise SerializationError(
            "a DeploymentResponse cannot be pickled: pass it as an argument of its own, "
            "or await it and pass the value"
        )

    def __repr__(self) -> str:
        state = "cancelled" if self.cancelled() else "done" if self.done else "pending"
        return f"DeploymentResponse(request_id={self.request_id!r}, {state})"


class DeploymentResponseGenerator(Generic[T]):
    """The items of a streaming call: `async for` in a loop, `for` elsewhere.

    One that is dropped before its end, as by `break`, stops the producer.
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

    def __del__(self) -> None:
        # Nobody is left to take items: a producer that waits for that would never leave its slot.
        with suppress(NotServingError):  # the mesh is gone already, and the producer with it
            self.items.cancel()

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise SerializationError("the items of a streaming call cannot be passed to another call")

    def __repr__(self) -> str:
        return f"DeploymentResponseGenerator(request_id={self.request_id!r})"
