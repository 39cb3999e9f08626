"""`RemoteFunction`: what `@meshgen.remote` makes of a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

from meshgen.errors import OptionError, OptionTypeError
from meshgen.objectref import ObjectRef
from meshgen.stub import MethodStub, method_stubs
from meshgen.tasks.code import CodeSender
from meshgen.tasks.declared import Declared
from meshgen.tasks.home import TaskService, task_service
from meshgen.tasks.options import task_options

P = ParamSpec("P")
R = TypeVar("R")


class RemoteFunction(Declared, Generic[P, R]):
    """A function that `.remote(...)` runs in the task service. Made by `@meshgen.remote`."""

    def __init__(self, func_or_class: Callable[P, R], options: Mapping[str, Any]) -> None:
        super().__init__(func_or_class, task_options(options))
        self._count = options.get("num_returns", 1)
        self._method = "run_async" if inspect.iscoroutinefunction(func_or_class) else "run"
        self._sender = CodeSender()
        stub = method_stubs(func_or_class)["__call__"]
        self._stub: MethodStub = replace(stub, name="remote")
        if self._stub.streams:
            raise OptionError(
                f"{func_or_class.__qualname__} is a generator, which no task can be: return a "
                "list, or make it a deployment and call it by handle.options(stream=True)"
            )

    def remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call the function and return at once: an `ObjectRef`, a list of them with
        `num_returns`, or None with `num_returns=0`.

        An `ObjectRef` or `DeploymentResponse` that is an argument of its own becomes its value.

        Raises:
            SignatureError: The function could not accept these arguments.
            SerializationError: The function or an argument cannot be pickled.
            NotServingError: This mesh has no task service.
        """
        self._stub.check(self.func_or_class.__qualname__, args, kwargs)
        service = task_service()
        code = self._sender.pack(self, service.caller)
        result = service.call(self._method, (code, self._count, *args), kwargs)
        return result if self._count == 1 else split(service, result, self._count)

    def options(self, **options: Any) -> RemoteFunction[P, R]:
        """A copy with some options changed.

        Raises:
            OptionError: A value cannot work.
            OptionTypeError: There is no such option.
        """
        return RemoteFunction(self.func_or_class, {**self.given, **options})

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refused: it runs elsewhere."""
        name = self.func_or_class.__qualname__
        raise OptionTypeError(
            f"{name} is a remote function and cannot be called directly: "
            f"use {name}.remote(...), or {name}.func_or_class(...) to run it right here"
        )

    def __repr__(self) -> str:
        return f"RemoteFunction({self.func_or_class.__qualname__})"


def split(service: TaskService, result: ObjectRef[Any], count: int) -> list[ObjectRef[Any]] | None:
    """A reference to each of several results, which never come to this process for that."""
    if count == 0:
        return None
    return [service.call("item", (result, place), {}) for place in range(count)]
