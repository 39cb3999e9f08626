"""Handles as objects: passed, pickled, looked up, called from anywhere."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshgen import serve
from meshgen.errors import (
    DeadlineError,
    NoSuchApplicationError,
    OptionError,
    OptionTypeError,
    SignatureError,
    UnknownMethodError,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps.calls import app

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/calls.py."""
    async with run_app(app, mode=mode, name="calls") as handle:
        yield handle


async def _one(front: DeploymentHandle, name: str) -> DeploymentHandle:
    """A deployment's handle, as the result of a call."""
    found: DeploymentHandle = (await front.all.remote())[name]
    return found


async def test_a_handle_is_an_argument_and_a_result(front: DeploymentHandle) -> None:
    """It works wherever it arrives, in async and in sync methods."""
    double = await _one(front, "double")
    assert await front.pass_on.remote(double, 4) == 8
    assert await front.pass_on_blocking.remote(double, 4) == 8


async def test_options_of_a_handle_travel_with_it(front: DeploymentHandle) -> None:
    """A handle of a method is passed as a handle of that method."""
    worker = await _one(front, "worker")
    assert await front.pass_on.remote(worker.add, 3, 4) == 7
    assert await front.pass_on.remote(worker.options(method_name="add"), 3, 4) == 7


async def test_a_pickled_handle_finds_the_mesh_of_its_process(front: DeploymentHandle) -> None:
    """In the block of `run_app` that is the application which runs there."""
    double = pickle.loads(pickle.dumps(await _one(front, "double")))
    assert await double.remote(5) == 10


async def test_copies_of_a_handle_call_the_same_deployment(front: DeploymentHandle) -> None:
    """Neither kind of copy is taken for a method."""
    double = await _one(front, "double")
    assert await copy.copy(double).remote(5) == 10
    assert await copy.deepcopy(double).remote(5) == 10


async def test_deployments_are_found_by_name_within_one(front: DeploymentHandle) -> None:
    """`get_deployment_handle` and `get_app_handle` know the application they are in."""
    assert await front.through_get_handle.remote("triple", 3) == 9
    assert await front.through_app_handle.remote() == "Front"
    with pytest.raises(NoSuchApplicationError, match="no deployment 'nope' in application 'calls'"):
        await front.through_get_handle.remote("nope", 3)


async def test_a_test_finds_deployments_by_name_too(front: DeploymentHandle) -> None:
    """As a program does beside `serve.run`."""
    assert await serve.get_deployment_handle("double", "calls").remote(2) == 4
    assert await serve.get_app_handle("calls").name.remote() == "Front"
    with pytest.raises(OptionError, match=r"name the application: get_deployment_handle\('double'"):
        serve.get_deployment_handle("double")


async def test_threads_and_loops_within_a_deployment_make_calls(front: DeploymentHandle) -> None:
    """Even those that meshgen did not start."""
    assert await front.in_own_thread.remote(2) == [4, 6]


async def test_a_misspelt_method_is_refused_at_once_with_a_suggestion(
    front: DeploymentHandle,
) -> None:
    """Nothing is sent: the stub knows the methods."""
    worker = await _one(front, "worker")
    with pytest.raises(UnknownMethodError, match=r"calls/Worker has no method 'ad'.*'add'\?"):
        worker.ad.remote(1)
    with pytest.raises(AttributeError, match="It has: "):
        worker.zzzzz.remote(1)


async def test_arguments_that_do_not_fit_are_refused_at_once(front: DeploymentHandle) -> None:
    """With the signature."""
    worker = await _one(front, "worker")
    with pytest.raises(SignatureError, match=r"calls/Worker.add\(left, right=...\) cannot be"):
        worker.add.remote()
    with pytest.raises(TypeError, match="unexpected keyword argument 'rihgt'"):
        worker.add.remote(1, rihgt=2)
    with pytest.raises(SignatureError, match="too many positional arguments"):
        worker.add_async.remote(1, 2)


async def test_options_are_checked_where_they_are_given(front: DeploymentHandle) -> None:
    """Unknown names and impossible values."""
    with pytest.raises(OptionTypeError, match="has no use_new_handle_api; it has method_name"):
        front.options(use_new_handle_api=True)
    with pytest.raises(OptionError, match="timeout_s must be positive"):
        front.options(timeout_s=0)


async def test_a_deadline_ends_a_call_that_takes_longer(front: DeploymentHandle) -> None:
    """The caller is told in time, and the replica stops waiting too."""
    worker = await _one(front, "worker")
    with pytest.raises(DeadlineError, match="calls/Worker gave no result before"):
        await worker.options(timeout_s=0.05).wait.remote()
    assert await worker.options(timeout_s=30.0).add.remote(1) == 1


async def test_a_deadline_counts_for_the_calls_that_a_call_makes(front: DeploymentHandle) -> None:
    """What is left of it travels along."""
    worker = await _one(front, "worker")
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(DeadlineError):
        await front.options(timeout_s=0.1).pass_on.remote(worker.wait)
    assert loop.time() - began < 5


async def test_a_handle_shows_what_it_calls(front: DeploymentHandle) -> None:
    """And is nothing else: no mapping, no callable."""
    assert repr(front) == "DeploymentHandle(deployment='Front')"
    assert (front.app_name, front.deployment_name) == ("calls", "Front")
    assert front
    for wrong in ("len(front)", "iter(front)", "front()", "front['x']"):
        with pytest.raises(TypeError):
            eval(wrong, {"front": front})
