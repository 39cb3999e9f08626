"""`meshgen.remote`: make a function a task, or a class an actor."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, overload

from meshgen.errors import OptionTypeError
from meshgen.serve.deployment import Deployment
from meshgen.tasks.actor import ActorClass
from meshgen.tasks.declared import Declared
from meshgen.tasks.function import RemoteFunction

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


@overload
def remote(_func_or_class: type[T], /) -> ActorClass[T]: ...  # type: ignore[overload-overlap]  # a class is callable, too
@overload
def remote(_func_or_class: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(**options: Any) -> Callable[[Any], Any]: ...
def remote(_func_or_class: Any = None, /, **options: Any) -> Any:
    """Have a function or class run in the mesh's task service. Used bare, or with options.

    Args:
        name: Of an actor: by which `meshgen.get_actor` finds it.
        num_returns: How many references a call gives; its result has so many items then.
        max_concurrency: How many calls of an actor run at a time; 1, or 1000 if a method is async.
        num_cpus: As `num_gpus`, `memory` and others of Ray's: accepted, and without effect.

    Raises:
        OptionError: A value cannot work.
        OptionTypeError: There is no such option, or this is no function or class.
    """

    def decorate(target: Any) -> Declared:
        if isinstance(target, Declared | Deployment):
            raise OptionTypeError(f"meshgen.remote got {target!r}, which is decorated already")
        if inspect.isclass(target):
            return ActorClass(target, options)
        if inspect.isfunction(target):
            return RemoteFunction(target, options)
        raise OptionTypeError(
            f"@meshgen.remote is for functions and classes, not for {target!r}; "
            "options go by keyword"
        )

    return decorate if _func_or_class is None else decorate(_func_or_class)
