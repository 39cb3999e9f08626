"""The user's object: how it is constructed, and how its methods run.

`async def` runs on the service's loop, `def` in a thread pool, generators of either kind as async
iterators. The constructor runs on the loop's thread.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from enum import Enum
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from meshgen.errors import GeneratorMismatchError, OptionError, UnknownMethodError
from meshgen.runtime.codethreads import CodeThreads, run_apart
from meshgen.serve.response import DeploymentResponseGenerator
from meshgen.spec import ServiceSpec
from meshgen.stub import DeploymentStub

_MAX_THREADS = 256
_GENERATORS = (GeneratorType, AsyncGeneratorType)
# Methods are few; what makes a new function at each look must not be remembered for ever.
_MAX_KINDS = 1024


class Instance:
    """One constructed deployment. `close` ends its threads."""

    def __init__(self, stub: DeploymentStub, target: Any, max_ongoing_requests: int) -> None:
        self._stub = stub
        self._target = target
        self._kinds: dict[Any, _Kind] = {}
        self.threads = CodeThreads(stub.id.name, min(max_ongoing_requests, _MAX_THREADS))

    @classmethod
    async def construct(
        cls, spec: ServiceSpec, target: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
    ) -> Instance:
        """Construct the class (its `__init__` may be async), then `reconfigure` it."""
        made: Any = target
        if isinstance(target, type):
            made = target.__new__(target, *args, **kwargs)
            if isinstance(made, target):
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

    async def check_health(self) -> None:
        """Run the user's `check_health`, if the class has one; a plain one in a thread of its own.

        Raises:
            BaseException: Whatever it raises.
        """
        # Asked of the class: an object may answer to every name.
        if self._stub.is_function or not hasattr(type(self._target), "check_health"):
            return
        check = self._target.check_health
        if self._kind(check) is _Kind.ASYNC:
            await check()
        else:
            await self._settle(await run_apart(check))

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
        self.threads.close()

    def method(self, name: str) -> Callable[..., Any]:
        """The user's callable of that name.

        Raises:
            UnknownMethodError: There is none.
        """
        if self._stub.is_function:
            found: Callable[..., Any] = self._target
            return found
        found = getattr(self._target, name, None)  # type: ignore[assignment]
        if not callable(found) or (name.startswith("__") and name != "__call__"):
            raise UnknownMethodError(f"deployment {self._stub.id} has no method {name!r}")
        return found

    def async_method(self, name: str) -> Callable[..., Any] | None:
        """The user's method of that name if it is a coroutine function of a unary call."""
        method = self.method(name)
        return method if self._kind(method) is _Kind.ASYNC else None

    def _kind(self, method: Callable[..., Any]) -> _Kind:
        function = getattr(method, "__func__", method)
        try:
            return self._kinds[function]
        except KeyError:
            if len(self._kinds) >= _MAX_KINDS:
                self._kinds.clear()
            kind = self._kinds[function] = _kind_of(method)
            return kind
        except TypeError:  # a callable object that cannot be a key
            return _kind_of(method)

    async def run(self, name: str, args: Any, kwargs: Any) -> Any:
        """Run a method and return whatever it does, generators included."""
        method = self.method(name)
        kind = self._kind(method)
        if kind is _Kind.ASYNC:
            return await method(*args, **kwargs)
        if kind is _Kind.GENERATOR:
            return method(*args, **kwargs)
        return await self._settle(await self.threads.run(partial(method, *args, **kwargs)))

    async def call(self, name: str, args: Any, kwargs: Any) -> Any:
        """Run a unary method.

        Raises:
            GeneratorMismatchError: It returned a generator.
        """
        return self.unary(name, await self.run(name, args, kwargs))

    def unary(self, name: str, result: Any) -> Any:
        """What a unary call returned, if that is one.

        Raises:
            GeneratorMismatchError: It is a generator.
        """
        if isinstance(result, _GENERATORS):
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
            return self.threads.iterate(result)
        raise GeneratorMismatchError(
            f"{self._stub.id}.{name} was called with stream=True but returned "
            f"{type(result).__name__}, not a generator"
        )

    async def _settle(self, result: Any) -> Any:
        # A stream's response can be awaited only to be told that it cannot.
        if inspect.isawaitable(result) and not isinstance(result, DeploymentResponseGenerator):
            return await result
        return result


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
