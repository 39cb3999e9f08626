"""The user's object: how it is constructed, and how its methods run.

`async def` runs on the service's loop, `def` in a thread pool, generators of either kind as async
iterators. The constructor runs on the loop's thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from enum import Enum
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from meshgen.errors import GeneratorMismatchError, OptionError, UnknownMethodError
from meshgen.serve.response import DeploymentResponseGenerator
from meshgen.spec import ServiceSpec
from meshgen.stub import DeploymentStub

logger = logging.getLogger("meshgen")

# How long a sync generator may run on before what it has yielded is passed on.
_SLICE_SECONDS = 0.001
_SLICE_ITEMS = 256
_MAX_THREADS = 256


class Instance:
    """One constructed deployment. `close` ends its threads."""

    def __init__(self, stub: DeploymentStub, target: Any, max_ongoing_requests: int) -> None:
        self._stub = stub
        self._target = target
        self._kinds: dict[Any, _Kind] = {}
        # Told of a thread that runs on although its call was cancelled.
        self.on_abandoned: Callable[[Future[_Outcome]], None] = lambda _future: None
        self._threads = ThreadPoolExecutor(
            min(max_ongoing_requests, _MAX_THREADS), thread_name_prefix=f"{stub.id.name}"
        )

    @classmethod
    async def construct(
        cls, spec: ServiceSpec, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Instance:
        """Construct the class (its `__init__` may be async), then `reconfigure` it."""
        made: Any = target
        if isinstance(target, type):
            made = target.__new__(target, *args, **kwargs)
            pending = type(made).__init__(made, *args, **kwargs)
            if inspect.isawaitable(pending):
                await pending
        instance = cls(spec.stub, made, spec.options.max_ongoing_requests)
        if spec.options.user_config is not None:
            await instance.reconfigure(spec.options.user_config)
        return instance

    @property
    def target(self) -> Any:
        """The user's object itself."""
        return self._target

    async def reconfigure(self, user_config: Any) -> None:
        """Hand the user's configuration to `reconfigure`.

        Raises:
            OptionError: The class has no such method.
        """
        if not hasattr(self._target, "reconfigure"):
            raise OptionError(
                f"{self._stub.id} has a user_config but its class has no reconfigure(user_config)"
            )
        await self._settle(self._target.reconfigure(user_config))

    async def finalize(self) -> None:
        """Call the user's `__del__` once, sync or async."""
        cls = type(self._target)
        delete = getattr(cls, "__del__", None)
        if delete is None or self._stub.is_function:
            return
        await self._settle(delete(self._target))
        # Not a second time when the interpreter drops the object.
        self._target.__class__ = type(
            cls.__name__, (cls,), {"__del__": lambda _self: None, "__slots__": ()}
        )

    def close(self) -> None:
        """Take no more work; threads that still run end with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def method(self, name: str) -> Callable[..., Any]:
        """The user's callable of that name.

        Raises:
            UnknownMethodError: There is none.
        """
        if self._stub.is_function:
            found: Callable[..., Any] = self._target
            return found
        found = getattr(self._target, name, None)  # type: ignore[assignment]
        if found is None or (name.startswith("__") and name != "__call__"):
            raise UnknownMethodError(f"deployment {self._stub.id} has no method {name!r}")
        return found

    def async_method(self, name: str) -> Callable[..., Any] | None:
        """The user's method of that name if it is a coroutine function of a unary call."""
        method = self.method(name)
        return method if self._kind(method) is _Kind.ASYNC else None

    def _kind(self, method: Callable[..., Any]) -> _Kind:
        function = getattr(method, "__func__", method)
        kind = self._kinds.get(function)
        if kind is None:
            kind = self._kinds[function] = _kind_of(method)
        return kind

    async def run(self, name: str, args: Any, kwargs: Any) -> Any:
        """Run a method and return whatever it does, generators included."""
        method = self.method(name)
        kind = self._kind(method)
        if kind is _Kind.ASYNC:
            return await method(*args, **kwargs)
        if kind is _Kind.GENERATOR:
            return method(*args, **kwargs)
        return await self._settle(await self._in_thread(partial(method, *args, **kwargs)))

    async def call(self, name: str, args: Any, kwargs: Any) -> Any:
        """Run a unary method.

        Raises:
            GeneratorMismatchError: It returned a generator.
        """
        result = await self.run(name, args, kwargs)
        if isinstance(result, (GeneratorType, AsyncGeneratorType)):
            raise GeneratorMismatchError(
                f"{self._stub.id}.{name} returned a generator: call it by "
                f"handle.options(stream=True).{name}.remote(...)"
            )
        return result

    async def iterate(self, name: str, args: Any, kwargs: Any) -> AsyncIterator[Any]:
        """What a generator method yields, as an async iterator.

        Raises:
            GeneratorMismatchError: It did not return a generator.
        """
        result = await self.run(name, args, kwargs)
        if hasattr(result, "__aiter__"):
            return aiter(result)
        if inspect.isgenerator(result):
            return self._iterate_in_thread(result)
        raise GeneratorMismatchError(
            f"{self._stub.id}.{name} was called with stream=True but returned "
            f"{type(result).__name__}, not a generator"
        )

    async def _settle(self, result: Any) -> Any:
        # A stream's response can be awaited only to be told that it cannot.
        if inspect.isawaitable(result) and not isinstance(result, DeploymentResponseGenerator):
            return await result
        return result

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        """Run in a thread, in this task's context. Any exception comes back as itself."""
        running = self._threads.submit(contextvars.copy_context().run, _outcome_of, function)
        try:
            outcome = await asyncio.shield(asyncio.wrap_future(running))
        except asyncio.CancelledError:
            if not running.cancel():
                self.on_abandoned(running)
            raise
        return outcome.value()

    async def _iterate_in_thread(self, generator: Iterator[Any]) -> AsyncIterator[Any]:
        """Items of a sync generator, as many at a time as come within a millisecond."""
        context = contextvars.copy_context()
        stopped = threading.Event()
        try:
            while True:
                piece = await asyncio.wrap_future(
                    self._threads.submit(context.run, _next_slice, generator, stopped)
                )
                for item in piece.items:
                    yield item
                if piece.end is not None:
                    piece.end.value()
                    return
        finally:
            stopped.set()
            # Its own `finally` runs in a thread too, after the step that is under way.
            threading.Thread(
                target=context.copy().run, args=(_close, generator), daemon=True
            ).start()


class _Outcome:
    """A result or an exception: futures refuse StopIteration, and executors let SystemExit pass."""

    __slots__ = ("_error", "_result")

    def __init__(self, result: Any, error: BaseException | None) -> None:
        self._result = result
        self._error = error

    def value(self) -> Any:
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


class _Slice:
    """Some items of a sync generator, and how it ended if it did."""

    __slots__ = ("end", "items")

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.end: _Outcome | None = None


def _next_slice(generator: Iterator[Any], stopped: threading.Event) -> _Slice:
    piece = _Slice()
    until = time.perf_counter() + _SLICE_SECONDS
    while len(piece.items) < _SLICE_ITEMS and not stopped.is_set():
        try:
            piece.items.append(next(generator))
        except StopIteration:
            piece.end = _Outcome(None, None)
            break
        except BaseException as exc:  # noqa: B036 - user code, as above
            piece.end = _Outcome(None, exc)
            break
        if time.perf_counter() > until:
            break
    return piece


def _close(generator: Any) -> None:
    """Close a generator as soon as no thread is inside of it."""
    while True:
        try:
            return generator.close()  # type: ignore[no-any-return]  # user's
        except ValueError:  # "generator already executing"
            time.sleep(0.005)
        except Exception:
            logger.exception("a generator failed while it was closed")
            return None


class _Kind(Enum):
    """How a method is run."""

    ASYNC = "on the loop"
    GENERATOR = "by whoever iterates"
    SYNC = "in a thread"


def _kind_of(method: Callable[..., Any]) -> _Kind:
    if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
        return _Kind.GENERATOR
    called = getattr(method, "__call__", None)  # noqa: B004 - an object may have an async one
    if inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(called):
        return _Kind.ASYNC
    return _Kind.SYNC
