"""`@serve.method`: what a method promises its callers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from meshgen.errors import OptionError, OptionTypeError
from meshgen.stub import POLICY
from meshgen.types import CallPolicy

F = TypeVar("F", bound=Callable[..., Any])


def method(*, idempotent: bool = False, hedge_after_s: float | None = None) -> Callable[[F], F]:
    """Declare a method of a deployment's class, or a function below `@serve.deployment`.

    Args:
        idempotent: Running a call twice does no harm: one that is lost with its replica is sent to
            another, instead of failing with `ReplicaLostError`.
        hedge_after_s: A call without an outcome after so many seconds is sent to a second replica,
            too; the first outcome counts. For idempotent methods only.

    Raises:
        OptionError: A value cannot work, or this is a generator: streams are never sent twice.
        OptionTypeError: A value has the wrong type, or this is no function.
    """
    policy = CallPolicy(idempotent=idempotent, hedge_after_s=hedge_after_s)

    def declare(function: F) -> F:
        plain = getattr(function, "__func__", function)  # of a static or class method
        if not inspect.isfunction(plain):
            raise OptionTypeError(
                f"@serve.method is for methods and functions, not for {function!r}; "
                "it stands below @serve.deployment"
            )
        if idempotent and (inspect.isgeneratorfunction(plain) or inspect.isasyncgenfunction(plain)):
            raise OptionError(
                f"{plain.__qualname__} is a generator: streams are never sent twice, "
                "so that idempotent=True would say nothing"
            )
        setattr(plain, POLICY, policy)
        return function

    return declare
