"""Threads for the user's code that would block the loop: plain functions and plain generators."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

logger = logging.getLogger("meshgen")

# How long a generator may run on before what it has yielded is passed on.
_SLICE_SECONDS = 0.001
_SLICE_ITEMS = 256
# One that has not come back by then waits for something: its items are passed on meanwhile.
_STALL_SECONDS = 0.002


class CodeThreads:
    """Runs what blocks, each call in the context of the task that waits for it."""

    def __init__(self, name: str, most: int) -> None:
        self._pool = ThreadPoolExecutor(most, thread_name_prefix=name)
        # Told of work that goes on although nobody waits for it any more, since no thread can be
        # stopped.
        self.on_abandoned: Callable[[Future[Any]], None] = lambda _work: None

    def close(self) -> None:
        """Take no more work; threads that still run end with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def run(self, function: Callable[[], Any]) -> Any:
        """What a function returns or raises."""
        running = self._pool.submit(contextvars.copy_context().run, _outcome_of, function)
        try:
            outcome = await asyncio.wrap_future(running)
        except asyncio.CancelledError:
            if not running.cancel():
                self.on_abandoned(running)
            raise
        return outcome.value()

    async def iterate(self, generator: Generator[Any, Any, Any]) -> AsyncIterator[Any]:
        """Items of a generator, as many at a time as come within a millisecond."""
        context = contextvars.copy_context()
        walk = _Walk(generator)
        while walk.end is None:
            running = self._pool.submit(context.run, walk.step)
            waiter = asyncio.wrap_future(running)
            try:
                await asyncio.wait((waiter,), timeout=_STALL_SECONDS)
                while not waiter.done():
                    while walk.items:
                        yield walk.items.popleft()
                    await asyncio.wait((waiter,))
                while walk.items:
                    yield walk.items.popleft()
            except (asyncio.CancelledError, GeneratorExit):
                walk.stopped = True
                waiter.cancel()
                self._close_after(running, partial(context.copy().run, _close, generator))
                raise
        walk.end.value()

    def _close_after(self, step: Future[None], close: Callable[[], None]) -> None:
        """Run a generator's own `finally`, in a thread too, as soon as none is inside of it."""
        closed: Future[None] = Future()

        def work() -> None:
            close()
            closed.set_result(None)

        def start(_: Future[None]) -> None:
            threading.Thread(target=work, name="close", daemon=True).start()

        step.add_done_callback(start)
        self.on_abandoned(closed)


async def run_apart(function: Callable[[], Any]) -> Any:
    """What a function returns or raises, in a thread of its own that nobody ever waits to end."""
    outcome: Future[_Outcome] = Future()
    outcome.set_running_or_notify_cancel()  # nothing can stop it from here on
    context = contextvars.copy_context()

    def work() -> None:
        outcome.set_result(context.run(_outcome_of, function))

    threading.Thread(target=work, name="apart", daemon=True).start()
    return (await asyncio.wrap_future(outcome)).value()


class _Walk:
    """A generator on its way; its items are appended by one thread and taken by another."""

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self.items: deque[Any] = deque()
        self.stopped = False
        # Once it has ended: how.
        self.end: _Outcome | None = None
        self._generator = generator

    def step(self) -> None:
        """Go on for a while."""
        until = time.perf_counter() + _SLICE_SECONDS
        for _ in range(_SLICE_ITEMS):
            try:
                self.items.append(next(self._generator))
            except StopIteration:
                self.end = _Outcome(None, None)
                return
            except BaseException as exc:  # noqa: B036 - user code: SystemExit too is an error
                self.end = _Outcome(None, exc)
                return
            if self.stopped or time.perf_counter() > until:
                return


def _close(generator: Generator[Any, Any, Any]) -> None:
    try:
        generator.close()
    except BaseException:  # noqa: B036 - user code, and nobody is left to be told
        logger.exception("a generator failed while it was closed")


class _Outcome:
    """A result or an exception: futures refuse StopIteration, and executors let SystemExit pass."""

    __slots__ = ("_error", "_result")

    def __init__(self, result: Any, error: BaseException | None) -> None:
        self._result = result
        self._error = error

    def value(self) -> Any:
        """The result, or the exception raised."""
        if isinstance(self._error, StopIteration):
            raise RuntimeError("a deployment's method raised StopIteration") from self._error
        if self._error is not None:
            raise self._error
        return self._result


def _outcome_of(function: Callable[[], Any]) -> _Outcome:
    try:
        return _Outcome(function(), None)
    except BaseException as exc:  # noqa: B036 - user code: SystemExit too is an error to its caller
        return _Outcome(None, exc)
