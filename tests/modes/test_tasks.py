"""Functions that the mesh's task service runs, in all modes."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import meshgen
from meshgen.errors import (
    OptionError,
    OptionTypeError,
    RequestCancelledError,
    SerializationError,
    SignatureError,
)
from meshgen.objectref import ObjectRef
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps import tasks

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE = 5_000_000
_names = map("gate {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The deployment of tests/apps/tasks.py, whose module declares tasks."""
    async with run_app(tasks.app, mode=mode) as handle:
        yield handle.options(timeout_s=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gates(shop: DeploymentHandle) -> Any:
    """An actor that calls wait at."""
    return tasks.Gates.remote()


@pytest.fixture(autouse=True)
async def no_hang() -> AsyncIterator[None]:
    """Each test ends within seconds."""
    async with asyncio.timeout(30):
        yield


# ---- a call and its result


async def test_a_task_returns_a_reference_at_once(shop: DeploymentHandle) -> None:
    """To a value that can be awaited twice."""
    ref = tasks.double.remote(3)
    assert type(ref) is ObjectRef
    assert [await ref, await ref] == [6, 6]


async def test_async_tasks_run_alike(shop: DeploymentHandle) -> None:
    """On the service's loop."""
    assert await tasks.double_async.remote(number=4) == 8


async def test_tasks_call_tasks(shop: DeploymentHandle) -> None:
    """And block for their results: the service has threads for that."""
    assert await tasks.fibonacci.remote(7) == 13


async def test_a_hundred_tasks_at_once(shop: DeploymentHandle) -> None:
    """Each gets its own result."""
    refs = [tasks.double.remote(number) for number in range(100)]
    assert await asyncio.gather(*refs) == [2 * number for number in range(100)]


async def test_a_function_of_a_function_travels_by_value(shop: DeploymentHandle) -> None:
    """With what it has closed over; one that is large is sent once."""
    ballast = bytes(200_000)

    def scaled(number: int) -> int:
        return number * factor

    def heavy(number: int) -> int:
        return number + len(ballast)

    factor = 10
    small, large = meshgen.remote(scaled), meshgen.remote(heavy)
    assert [await small.remote(2), await small.remote(3)] == [20, 30]
    assert [await large.remote(1), await large.remote(2)] == [200_001, 200_002]


async def test_several_results_are_references_to_each(shop: DeploymentHandle) -> None:
    """Of which each can be passed on by itself."""
    first, second = tasks.halves.remote([1, 2, 3, 4])
    assert (await first, await second) == ([1, 2], [3, 4])
    assert await tasks.halves.options(num_returns=1).remote([1, 2]) == ([1], [2])
    assert tasks.halves.options(num_returns=0).remote([]) is None
    left, _ = tasks.halves.remote([bytes(LARGE), b""])
    assert await tasks.kind_of.remote(left) == ["list"]


async def test_another_number_of_results_is_an_error(shop: DeploymentHandle) -> None:
    """At each of the references."""
    refs = tasks.halves.options(num_returns=3).remote([1, 2])
    for ref in refs:
        with pytest.raises(OptionError, match="num_returns=3, but returned 2 items"):
            await ref


async def test_a_remote_function_is_an_argument(shop: DeploymentHandle) -> None:
    """By its name, or by value where it has none of its own."""
    assert await tasks.apply.remote(tasks.double, 2) == 4
    assert await tasks.apply.remote(tasks.double.options(name="twice"), 3) == 6
    assert await tasks.apply.remote(meshgen.remote(lambda number: number + 1), 3) == 4
    assert await tasks.kind_of.remote(tasks.Counter) == ["ActorClass"]


async def test_tasks_belong_to_no_model(shop: DeploymentHandle) -> None:
    """What a request says of its model is for its deployment."""
    assert await shop.options(multiplexed_model_id="m").double.remote(2) == 4


# ---- references as arguments


async def test_references_become_values_and_nested_ones_stay(shop: DeploymentHandle) -> None:
    """Of tasks, deployments and `meshgen.put`, positional and by name."""
    ref, response = tasks.double.remote(1), shop.plain.remote(5)
    kept = meshgen.put("word")
    kinds = await tasks.kind_of.remote(ref, response, kept, [ref], named=ref, boxed={"r": ref})
    assert kinds == ["int", "int", "str", "list", "int", "dict"]
    assert await tasks.opened.remote([ref, response, kept]) == [2, 5, "word"]


async def test_a_large_value_is_passed_on(shop: DeploymentHandle) -> None:
    """From a task or a deployment to a task, and from a task to a deployment."""
    assert await tasks.size_of.remote(tasks.block.remote(LARGE)) == LARGE
    assert await tasks.size_of.remote(shop.block.remote(LARGE)) == LARGE
    assert len(await shop.plain.remote(tasks.block.remote(LARGE))) == LARGE


async def test_a_deployment_uses_tasks(shop: DeploymentHandle) -> None:
    """Chained; and a deployment's response as an object reference is a task's argument."""
    assert await shop.remote(3) == 12
    assert await shop.object_reference.remote(4) == 8
    ref = await shop.plain.remote(5)._to_object_ref()
    assert await tasks.double.remote(ref) == 10


async def test_a_task_calls_a_deployment(shop: DeploymentHandle) -> None:
    """By a handle that it was given."""
    assert await tasks.ask_deployment.remote(shop, 3) == 3


# ---- what goes wrong


async def test_an_exception_is_of_its_own_type(shop: DeploymentHandle) -> None:
    """At whoever waits, however often; and at a task that was to have the value."""
    ref = tasks.fail.remote("tea")
    for awaited in (ref, ref, tasks.double.remote(ref)):
        with pytest.raises(tasks.OutOfStock) as caught:
            await awaited
        assert caught.value.item == "tea"


async def test_a_generator_as_a_result_is_refused(shop: DeploymentHandle) -> None:
    """Also where the function's kind did not tell."""
    with pytest.raises(OptionError, match="generator returned a generator"):
        await tasks.generator.remote([1])


async def test_what_could_not_run_is_refused_at_once(shop: DeploymentHandle) -> None:
    """Before anything is sent."""
    with pytest.raises(SignatureError, match=r"double\.remote\(number\) cannot be called"):
        tasks.double.remote(1, 2)
    with pytest.raises(SerializationError, match="argument"):
        tasks.double.remote(threading.Lock())
    with pytest.raises(OptionTypeError, match=r"double\.remote\(\.\.\.\)"):
        tasks.double(1)


# ---- cancellation


async def test_cancelling_an_async_task_reaches_its_code(
    shop: DeploymentHandle, gates: Any
) -> None:
    """And the calls that it waits for."""
    name = next(_names)
    ref = tasks.wait_at_async.remote(gates, name)
    await gates.until.remote(f"{name} began")
    meshgen.cancel(ref)
    with pytest.raises(RequestCancelledError):
        await ref
    assert await gates.until.remote(f"{name} cancelled") == f"{name} cancelled"


async def test_a_cancelled_task_tells_its_waiters_at_once(
    shop: DeploymentHandle, gates: Any
) -> None:
    """Although a plain function runs on in its thread."""
    name = next(_names)
    ref = tasks.wait_at.remote(gates, name)
    await gates.until.remote(f"{name} began")
    meshgen.cancel(ref)
    with pytest.raises(RequestCancelledError):
        await ref
    await gates.open.remote(name)


async def test_giving_up_to_wait_is_no_cancellation(shop: DeploymentHandle, gates: Any) -> None:
    """The task goes on, and its result can still be had."""
    name = next(_names)
    ref = tasks.wait_at_async.remote(gates, name)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await ref
    await gates.open.remote(name)
    assert await ref == f"passed {name}"


async def test_cancelling_what_is_over_changes_nothing(shop: DeploymentHandle) -> None:
    """The value stays."""
    ref = tasks.double.remote(2)
    assert await ref == 4
    meshgen.cancel(ref)
    assert await ref == 4


async def test_what_is_no_reference_cannot_be_cancelled(shop: DeploymentHandle) -> None:
    """Nor can a thread be stopped by force."""
    with pytest.raises(OptionTypeError, match="takes an ObjectRef"):
        meshgen.cancel(3)
    with pytest.raises(OptionError, match="a function in a thread cannot be stopped"):
        meshgen.cancel(meshgen.put(1), force=True)
    with pytest.raises(OptionError, match="recursive=False"):
        meshgen.cancel(meshgen.put(1), recursive=False)
