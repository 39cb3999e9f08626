"""What may be said of tasks and actors."""

from __future__ import annotations

from typing import Any

import pytest

import meshgen
from meshgen import serve
from meshgen.errors import OptionError, OptionTypeError
from meshgen.tasks.actor import ActorClass
from meshgen.tasks.function import RemoteFunction


def double(number: int) -> int:
    """Stands for any function."""
    return 2 * number


class Counter:
    """Stands for any class."""


RESOURCES = {"num_cpus": 0.5, "num_gpus": 1, "memory": 10, "resources": {}, "runtime_env": {}}
TASK = {**RESOURCES, "max_retries": 3, "name": "twice", "num_returns": 2, "max_calls": 1}
ACTOR = {
    **RESOURCES,
    **{"name": "one", "namespace": "here", "lifetime": "detached", "get_if_exists": True},
    **{"max_concurrency": 3, "max_restarts": -1, "max_task_retries": 1},
}


def test_what_ray_has_is_accepted() -> None:
    """By the decorator and by `.options`."""
    assert isinstance(meshgen.remote(**TASK)(double), RemoteFunction)
    assert isinstance(meshgen.remote(double).options(**TASK), RemoteFunction)
    assert isinstance(meshgen.remote(**ACTOR)(Counter), ActorClass)
    assert isinstance(meshgen.remote(Counter).options(**ACTOR), ActorClass)
    assert isinstance(meshgen.remote()(double), RemoteFunction)


def test_options_add_up() -> None:
    """Each copy keeps what the one before it had."""
    twice = meshgen.remote(num_cpus=2)(double).options(name="a").options(name="b")
    assert twice.given == {"num_cpus": 2, "name": "b"}


@pytest.mark.parametrize(
    ("target", "given", "sentence"),
    [
        (double, {"num_cpu": 1}, "a task has no option num_cpu; it has accelerator_type"),
        (Counter, {"num_returns": 1}, "an actor has no option num_returns; it has"),
        (double, {"num_returns": "many"}, "num_returns must be a whole number"),
        (double, {"num_returns": True}, "num_returns must be a whole number"),
        (double, {"num_cpus": "two"}, "num_cpus must be a number"),
        (double, {"memory": True}, "memory must be a number"),
        (Counter, {"name": 3}, "name must be a string"),
        (Counter, {"max_concurrency": 1.5}, "max_concurrency must be a whole number"),
    ],
)
def test_a_wrong_type_is_named(target: Any, given: dict[str, Any], sentence: str) -> None:
    """With what there is."""
    with pytest.raises(OptionTypeError, match=sentence):
        meshgen.remote(**given)(target)


@pytest.mark.parametrize(
    ("target", "given", "sentence"),
    [
        (double, {"num_returns": -1}, "num_returns must not be negative"),
        (double, {"num_returns": "dynamic"}, "num_returns='dynamic' is not for tasks"),
        (double, {"num_returns": "streaming"}, "stream from a deployment"),
        (double, {"num_gpus": -1}, "num_gpus must not be negative"),
        (double, {"memory": float("nan")}, "memory must not be negative"),
        (Counter, {"name": ""}, "name must not be empty"),
        (Counter, {"lifetime": "long"}, "lifetime must be 'detached' or None"),
        (Counter, {"max_concurrency": 0}, "max_concurrency must be at least 1"),
        (Counter, {"get_if_exists": True}, "get_if_exists=True needs a name"),
    ],
)
def test_a_value_that_cannot_work_is_named(
    target: Any, given: dict[str, Any], sentence: str
) -> None:
    """With what would work."""
    with pytest.raises(OptionError, match=sentence):
        meshgen.remote(**given)(target)


def test_only_functions_and_classes_run_elsewhere() -> None:
    """Once."""
    for target in (3, "name", len):
        with pytest.raises(OptionTypeError, match="is for functions and classes"):
            meshgen.remote(target)
    for target in (meshgen.remote(double), serve.deployment(Counter)):
        with pytest.raises(OptionTypeError, match="which is decorated already"):
            meshgen.remote(target)


def test_generators_are_refused() -> None:
    """With what to do instead."""

    def count() -> Any:
        yield 1

    with pytest.raises(OptionError, match="count is a generator, which no task can be"):
        meshgen.remote(count)


def test_they_show_what_they_are() -> None:
    """With the name and documentation of what was decorated."""
    function, actor = meshgen.remote(double), meshgen.remote(Counter)
    assert (repr(function), repr(actor)) == ("RemoteFunction(double)", "ActorClass(Counter)")
    assert (function.__doc__, function.__name__) == ("Stands for any function.", "double")
    assert function.func_or_class(4) == 8
