"""The options of tasks and actors: what may be said, and what each value must be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshgen.errors import OptionError, OptionTypeError

# What an orchestrator or Ray's own scheduler would look at: nothing here does.
_RESOURCES = {
    "accelerator_type",
    "label_selector",
    "memory",
    "num_cpus",
    "num_gpus",
    "object_store_memory",
    "resources",
    "runtime_env",
    "scheduling_strategy",
}
_TASK = _RESOURCES | {"max_calls", "max_retries", "name", "num_returns", "retry_exceptions"}
_ACTOR = _RESOURCES | {
    "get_if_exists",
    "lifetime",
    "max_concurrency",
    "max_pending_calls",
    "max_restarts",
    "max_task_retries",
    "name",
    "namespace",
}
_METHOD = {"name", "num_returns"}


def task_options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check the options of a function.

    Raises:
        OptionTypeError: There is no such option, or a value has the wrong type.
        OptionError: A value cannot work.
    """
    _refuse_unknown("a task", given, _TASK)
    _check_common(given)
    return given


def actor_options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check the options of a class.

    Raises:
        OptionTypeError: There is no such option, or a value has the wrong type.
        OptionError: A value cannot work.
    """
    _refuse_unknown("an actor", given, _ACTOR)
    _check_common(given)
    _string("namespace", given.get("namespace"))
    if given.get("lifetime") not in (None, "detached", "non_detached"):
        raise OptionError(f"lifetime must be 'detached' or None, got {given['lifetime']!r}")
    concurrency = given.get("max_concurrency")
    if concurrency is not None and _whole("max_concurrency", concurrency) < 1:
        raise OptionError(f"max_concurrency must be at least 1, got {concurrency}")
    if given.get("get_if_exists") and not given.get("name"):
        raise OptionError("get_if_exists=True needs a name to look for: options(name=...)")
    return given


def method_options(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Check the options of one method's calls.

    Raises:
        OptionTypeError: There is no such option, or a value has the wrong type.
        OptionError: A value cannot work.
    """
    _refuse_unknown("an actor's method", given, _METHOD)
    _check_common(given)
    return given


def _refuse_unknown(what: str, given: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise OptionTypeError(
            f"{what} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )


def _check_common(given: Mapping[str, Any]) -> None:
    _string("name", given.get("name"))
    for name in ("num_cpus", "num_gpus", "memory"):
        _amount(name, given.get(name))
    count = given.get("num_returns", 1)
    if count in ("dynamic", "streaming"):
        raise OptionError(
            f"num_returns={count!r} is not for tasks and actors of a mesh: return a list, or "
            "stream from a deployment by handle.options(stream=True)"
        )
    if _whole("num_returns", count) < 0:
        raise OptionError(f"num_returns must not be negative, got {count}")


def _string(name: str, value: Any) -> None:
    if value is not None and not isinstance(value, str):
        raise OptionTypeError(f"{name} must be a string, got {value!r}")
    if value == "":
        raise OptionError(f"{name} must not be empty")


def _amount(name: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionTypeError(f"{name} must be a number, got {value!r}")
    if not value >= 0:
        raise OptionError(f"{name} must not be negative, got {value}")


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionTypeError(f"{name} must be a whole number, got {value!r}")
    return value
