"""One actor at home: its object, and the turns in which its methods run."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from meshgen.errors import ActorDiedError, OptionError, UnknownMethodError
from meshgen.tasks.places import Later, Made, Order, resident

_MOST_THREADS = 256


class Resident:
    """Owns the actor's threads. Its calls run in the tasks of those who call."""

    def __init__(self, order: Order, made: Made) -> None:
        self.order = order
        self.made = made
        self._object: Any = None
        self._ready = asyncio.get_running_loop().create_future()
        # Asked in order, and each turn given in that order.
        self._turns = asyncio.Semaphore(order.max_concurrency)
        # One thread for the plain methods of an async actor: they exclude each other.
        threads = 1 if order.shape.is_async else min(order.max_concurrency, _MOST_THREADS)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=order.shape.class_name)
        self._running: set[asyncio.Task[Any]] = set()
        self._death = ""

    @property
    def name(self) -> str:
        """As errors name it."""
        return resident(self.order.shape.class_name, self.order.name)

    async def construct(self, cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Make the object: in its thread, or on the loop if it has async methods.

        Raises:
            BaseException: Whatever the constructor raises.
        """
        try:
            if self.order.shape.is_async:
                self._object = await _construct(cls, args, kwargs)
            else:
                self._object = await self._in_thread(partial(cls, *args, **kwargs))
        except BaseException:
            self.kill("its constructor failed")
            raise
        finally:
            if not self._ready.done():
                self._ready.set_result(None)

    async def wait(self) -> None:
        """Wait until the object is made, or cannot be."""
        if not self._ready.done():
            await asyncio.shield(self._ready)
        self._refuse_if_dead()

    async def call(self, method: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Run a method when it is its turn.

        Raises:
            ActorDiedError: The actor was killed before or meanwhile.
            BaseException: Whatever the method raises.
        """
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            async with self._turns:
                await self.wait()
                given = [await _value(each) for each in args]
                named = {name: await _value(each) for name, each in kwargs.items()}
                return await self._run(self._method(method), given, named)
        except asyncio.CancelledError:
            self._refuse_if_dead()
            raise
        finally:
            self._running.discard(task)

    def _method(self, name: str) -> Callable[..., Any]:
        found: Any = getattr(self._object, name, None)
        if not callable(found) or (name.startswith("__") and name != "__call__"):
            raise UnknownMethodError(f"{self.name} has no method {name!r}")
        method: Callable[..., Any] = found
        return method

    async def _run(
        self, method: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if inspect.iscoroutinefunction(method):
            return await method(*args, **kwargs)
        result = await self._in_thread(partial(method, *args, **kwargs))
        if inspect.isawaitable(result):
            result = await result
        return refuse_generator(self.name, result)

    async def _in_thread(self, function: Callable[[], Any]) -> Any:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, context.run, _guarded, function)

    def _refuse_if_dead(self) -> None:
        if self._death:
            raise ActorDiedError(f"{self.name} is dead: {self._death}")

    def kill(self, why: str) -> None:
        """End it: calls that wait or run are told, and later ones."""
        self._death = self._death or why
        self._object = None
        self._threads.shutdown(wait=False, cancel_futures=True)
        for task in list(self._running):
            task.cancel()


def refuse_generator(what: str, result: Any) -> Any:
    """What a task or method returned, if that can be a result.

    Raises:
        OptionError: It is a generator.
    """
    if isinstance(result, GeneratorType | AsyncGeneratorType):
        raise OptionError(
            f"{what} returned a generator, which cannot travel: return a list, or stream from a "
            "deployment by handle.options(stream=True)"
        )
    return result


async def _construct(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    made: Any = cls.__new__(cls, *args, **kwargs)
    pending = made.__init__(*args, **kwargs)
    if inspect.isawaitable(pending):
        await pending
    return made


async def _value(argument: Any) -> Any:
    return await argument.ref if isinstance(argument, Later) else argument


def _guarded(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except StopIteration as exc:  # no future takes it
        raise RuntimeError("an actor's method raised StopIteration") from exc
