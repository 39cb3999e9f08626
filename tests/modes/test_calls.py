"""Calls through handles: arguments, results, kinds of methods, and ways to wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from meshgen.errors import (
    BlockingCallError,
    DeadlineError,
    SerializationError,
)
from meshgen.objectref import ObjectRef
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps.calls import app

pytestmark = pytest.mark.asyncio(loop_scope="module")
Handles = dict[str, DeploymentHandle]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handles(mode: Mode) -> AsyncIterator[Handles]:
    """The handles of every deployment of tests/apps/calls.py."""
    async with run_app(app, mode=mode) as front:
        yield {**await front.all.remote(), "front": front}


@pytest.fixture
def worker(handles: Handles) -> DeploymentHandle:
    """The deployment that has methods of every kind."""
    return handles["worker"]


async def test_arguments_go_by_position_and_by_keyword(worker: DeploymentHandle) -> None:
    """They arrive as they were given, defaults included."""
    assert await worker.remote(1) == 12
    assert await worker.remote(number=1) == 12
    assert await worker.add.remote(1, 2) == 3
    assert await worker.add.remote(right=2, left=1) == 3
    assert await worker.add.remote(1) == 1
    assert await worker.add_async.remote(1, right=2) == 3
    assert await worker.describe.remote(1, "a", b=2, self=3) == "(1, 'a') [('b', 2), ('self', 3)]"


async def test_methods_of_every_kind_are_called(worker: DeploymentHandle) -> None:
    """Inherited, static, class and private ones too."""
    assert await worker.inherited.remote() == "Worker"
    assert await worker.static.remote(3) == -3
    assert await worker.named.remote() == "Worker"
    assert await worker._private.remote() == "private"
    assert await worker.options(method_name="add").remote(1, 1) == 2


async def test_sync_methods_run_beside_the_loop(worker: DeploymentHandle) -> None:
    """A `def` method that blocks must not hold up others."""
    assert (await worker.thread_name.remote()).startswith("Worker")


async def test_functions_are_deployments_and_ignore_the_method_name(handles: Handles) -> None:
    """As in Ray Serve: a function has only itself to call."""
    assert await handles["double"].remote(4) == 8
    assert await handles["triple"].remote(4) == 12
    assert await handles["double"].whatever.remote(4) == 8


async def test_an_async_constructor_is_awaited(handles: Handles) -> None:
    """The object is complete before the first call."""
    assert await handles["async_init"].greet.remote() == "Hola Dora"


@pytest.mark.parametrize(
    "value",
    [None, True, 1 << 80, 1.5, "¡Hola!", b"\0\xff", [1, [2]], (1, {"a": {3}}), {"k": None}, ...],
    ids=repr,
)
async def test_values_arrive_equal_and_of_the_same_type(
    worker: DeploymentHandle, value: object
) -> None:
    """Whatever pickles goes both ways unchanged."""
    back = await worker.echo.remote(value)
    assert back == value
    assert type(back) is type(value)


async def test_an_array_arrives_writable_and_apart_from_its_sender(
    worker: DeploymentHandle,
) -> None:
    """Out-of-band buffers belong to the one who got them."""
    array = np.arange(1000)
    back = await worker.echo.remote(array)
    back[0] = 7
    assert array[0] == 0
    assert (back[1:] == array[1:]).all()


async def test_the_callers_object_is_never_changed(worker: DeploymentHandle) -> None:
    """Arguments are passed by value in every mode."""
    items = [1, 2, 3]
    response = worker.append.remote(items)
    items.clear()
    assert await response == [1, 2, 3, 4]
    assert items == []


async def test_functions_and_local_classes_are_arguments_and_results(
    worker: DeploymentHandle,
) -> None:
    """What cannot be imported on the other side travels by value."""
    factor = 3

    class Local:
        def __init__(self, number: int) -> None:
            self.number = number

    assert await worker.call.remote(lambda number: number * factor, 5) == 15
    assert (await worker.call.remote(Local, 4)).number == 4


@pytest.mark.parametrize("size", [100_000, 5_000_000])
async def test_large_messages_go_both_ways(worker: DeploymentHandle, size: int) -> None:
    """Beyond gRPC's 4 MB default."""
    assert await worker.total.remote(np.ones(size, dtype="u1")) == size
    assert (await worker.ones.remote(size)).nbytes == size
    assert len(await worker.echo.remote(b"x" * size)) == size


@pytest.mark.slow
async def test_200_mb_go_both_ways(worker: DeploymentHandle) -> None:
    """Size has no limit that anybody would meet by chance."""
    back = await worker.echo.remote(np.ones(200_000_000, dtype="u1"))
    assert back.nbytes == 200_000_000 == int(back.sum())


async def test_an_unpicklable_argument_is_refused_at_once(worker: DeploymentHandle) -> None:
    """The error comes where the mistake is, and names the argument."""
    with pytest.raises(SerializationError, match=r"argument 1 \(lock\) cannot be pickled"):
        worker.echo.remote(threading.Lock())


async def test_an_unpicklable_result_is_an_error_of_that_call(worker: DeploymentHandle) -> None:
    """The replica goes on."""
    with pytest.raises(SerializationError, match="a value of type lock cannot be pickled"):
        await worker.unpicklable.remote()
    assert await worker.add.remote(1) == 1


async def test_a_response_is_awaited_as_often_as_one_likes(worker: DeploymentHandle) -> None:
    """Every time the same value, from one call."""
    before = await worker.count_calls.remote()
    response = worker.add.remote(1, 2)
    assert [await response, await response] == [3, 3]
    both: list[int] = await asyncio.gather(*[response, response])
    assert both == [3, 3]
    assert await worker.count_calls.remote() == before + 1


async def test_a_call_runs_though_nobody_awaits_it(worker: DeploymentHandle) -> None:
    """`.remote()` is enough."""
    waiting = worker.wait.remote()
    worker.open_gate.remote()
    assert await waiting == "waited"


async def test_responses_are_awaitables_of_asyncio(worker: DeploymentHandle) -> None:
    """gather, wait_for, shield, ensure_future and TaskGroup take them."""
    assert await asyncio.gather(*(worker.add.remote(n) for n in range(50))) == list(range(50))
    assert await asyncio.wait_for(worker.add.remote(1), 10) == 1
    assert await asyncio.shield(worker.add.remote(2)) == 2
    future = asyncio.ensure_future(worker.add.remote(3))
    done, _ = await asyncio.wait([future])
    assert done == {future}
    assert await future == 3


async def test_gather_returns_errors_where_asked(worker: DeploymentHandle) -> None:
    """One failed call does not hide the others."""
    calls = [worker.add.remote(1), worker.fail.remote("no")]
    outcomes: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert outcomes[0] == 1
    assert isinstance(outcomes[1], ValueError)


async def test_a_response_is_awaited_in_two_loops(worker: DeploymentHandle) -> None:
    """Both get the value, whichever loop the call was made in."""
    response = worker.wait.remote()
    others = asyncio.create_task(asyncio.to_thread(asyncio.run, _value_of(response)))
    worker.open_gate.remote()
    assert [await response, await others] == ["waited", "waited"]


async def _value_of(response: Any) -> Any:
    return await response


async def test_handles_are_called_from_threads_and_their_loops(worker: DeploymentHandle) -> None:
    """Wherever the caller runs, calls go out and come back."""
    blocking = [asyncio.to_thread(lambda n: worker.add.remote(n).result(), n) for n in range(8)]
    assert await asyncio.gather(*blocking) == list(range(8))

    async def calls() -> list[int]:
        return list(await asyncio.gather(*(worker.add.remote(n) for n in range(8))))

    assert await asyncio.to_thread(asyncio.run, calls()) == list(range(8))


async def test_result_is_refused_on_a_running_loop(handles: Handles) -> None:
    """In the caller's loop and in a replica's: it would stand still."""
    with pytest.raises(BlockingCallError, match="use `await response` instead"):
        handles["double"].remote(1).result()
    with pytest.raises(BlockingCallError, match="use `await response` instead"):
        await handles["front"].result_in_loop.remote()


async def test_result_works_in_sync_methods(handles: Handles) -> None:
    """They run in a thread without a loop."""
    assert await handles["front"].pass_on_blocking.remote(handles["double"], 2) == 4


async def test_result_that_runs_out_of_time_leaves_the_call_running(
    worker: DeploymentHandle,
) -> None:
    """A later `result()` gets the value; zero and negative times are allowed."""
    response = worker.wait.remote()
    for timeout in (0.01, 0, -1):
        with pytest.raises(DeadlineError, match="the call is still running"):
            await asyncio.to_thread(partial(response.result, timeout_s=timeout))
    worker.open_gate.remote()
    assert await asyncio.to_thread(lambda: response.result(timeout_s=10)) == "waited"


async def test_responses_are_passed_on_by_position_and_keyword(handles: Handles) -> None:
    """No await in between; one response may feed several calls."""
    worker, double = handles["worker"], handles["double"]
    two, three = double.remote(1), handles["triple"].remote(1)
    assert await worker.add.remote(two, three) == 5
    assert await worker.add.remote(left=two, right=two) == 4
    assert await double.remote(double.remote(double.remote(two))) == 16
    assert await two == 2
    assert await double.remote(two) == 4


async def test_an_error_upstream_is_the_error_downstream(worker: DeploymentHandle) -> None:
    """The second method never runs, and its replica stays healthy."""
    before = await worker.count_calls.remote()
    failed = worker.fail.remote("upstream")
    with pytest.raises(ValueError, match="upstream"):
        await worker.add.remote(failed, 1)
    assert await worker.count_calls.remote() == before


async def test_a_response_within_another_argument_arrives_as_a_reference(
    worker: DeploymentHandle,
) -> None:
    """The value stays where it is until somebody awaits it."""
    assert await worker.call.remote(_kind, [worker.add.remote(1)]) == "ObjectRef"


def _kind(items: list[Any]) -> str:
    return type(items[0]).__name__


async def test_a_response_that_is_returned_arrives_as_a_reference(handles: Handles) -> None:
    """It can be awaited by whoever gets it."""
    (ref,) = await handles["worker"].call.remote(_unawaited, handles["double"])
    assert isinstance(ref, ObjectRef)
    assert await ref == 2


def _unawaited(double: DeploymentHandle) -> Any:
    return [double.remote(1)]
