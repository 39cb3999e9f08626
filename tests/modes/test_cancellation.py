"""Cancelled calls: who is told, whose work stops, and whose goes on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshgen.errors import DeadlineError, RequestCancelledError
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps.cancelling import app, consuming

pytestmark = pytest.mark.asyncio(loop_scope="module")

_tags = map("call {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def parent(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/cancelling.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(parent: DeploymentHandle) -> DeploymentHandle:
    """The deployment whose methods wait; it takes ten calls at a time."""
    found: DeploymentHandle = (await parent.all.remote())["worker"]
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def journal(parent: DeploymentHandle) -> DeploymentHandle:
    """The deployment that remembers events."""
    found: DeploymentHandle = (await parent.all.remote())["journal"]
    return found


async def _until(journal: DeploymentHandle, event: str) -> None:
    """Wait until an event was noted; fails the test after half a minute."""
    await journal.options(timeout_s=30).until.remote(event)


async def test_cancel_reaches_the_code_that_waits(
    worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """The caller is told at once, the method gets CancelledError; twice is no error."""
    tag = next(_tags)
    response = worker.wait.remote(tag)
    await _until(journal, f"{tag} began")
    response.cancel()
    response.cancel()
    assert response.cancelled()
    with pytest.raises(RequestCancelledError, match="cancelled by its caller"):
        await response
    await _until(journal, f"{tag} cancelled")


async def test_cancel_after_the_result_changes_nothing(worker: DeploymentHandle) -> None:
    """The value is there and stays."""
    response = worker.ping.remote()
    assert await response == "pong"
    response.cancel()
    assert await response == "pong"


async def test_a_cancelled_await_cancels_the_call(
    worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """Unlike in Ray: nobody waits, so nobody works."""
    tag = next(_tags)
    task = asyncio.ensure_future(worker.wait.remote(tag))
    await _until(journal, f"{tag} began")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await _until(journal, f"{tag} cancelled")


async def test_wait_for_that_times_out_cancels_the_call(
    parent: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """In a deployment too."""
    tag = next(_tags)
    assert await parent.wait_for.remote(tag, 0.1) == "timed out"
    await _until(journal, f"{tag} cancelled")


async def test_one_of_two_waiters_gives_up_for_itself_only(
    worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """The call goes on for the other."""
    tag = next(_tags)
    response = worker.stubborn.remote(tag)

    async def wait() -> str:
        value: str = await response
        return value

    first, second = asyncio.create_task(wait()), asyncio.create_task(wait())
    await _until(journal, f"{tag} began")
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert not response.cancelled()
    response.cancel()
    with pytest.raises(RequestCancelledError):
        await second
    await _until(journal, f"{tag} goes on")


async def test_a_cancelled_call_cancels_the_calls_it_waits_for(
    parent: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """Hop by hop, all of them."""
    tag = next(_tags)
    response = parent.wait_twice.remote(tag)
    for each in ("one", "two"):
        await _until(journal, f"{tag} {each} began")
    response.cancel()
    for each in ("one", "two"):
        await _until(journal, f"{tag} {each} cancelled")


async def test_calls_that_nobody_awaits_end_with_their_request(
    parent: DeploymentHandle, worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """All that was called while serving it belongs to a request, shielded or never awaited."""
    tag = next(_tags)
    response = parent.leave_running.remote(tag)
    await _until(journal, f"{tag} shielded began")
    await _until(journal, f"{tag} alone began")
    await _until(journal, f"{tag} in a thread began")
    response.cancel()
    with pytest.raises(RequestCancelledError):
        await response
    for which in ("shielded", "alone", "in a thread"):
        await _until(journal, f"{tag} {which} cancelled")
    assert await worker.ping.remote() == "pong"


async def test_calls_that_nobody_awaits_outlive_a_request_that_ends_by_itself(
    parent: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """Fire and forget works as long as nobody cancels."""
    tag = next(_tags)
    await parent.fire_and_forget.remote(tag)
    await _until(journal, f"{tag} began")
    await parent.cancel_kept.remote()
    await _until(journal, f"{tag} cancelled")


async def test_cancelling_a_chain_reaches_every_call_of_it(
    parent: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """The call that waits for a value, and the one that makes it."""
    tag = next(_tags)
    response = parent.chained.remote(tag)
    await _until(journal, f"{tag} began")
    response.cancel()
    await _until(journal, f"{tag} cancelled")


async def test_a_deadline_cancels_every_hop(
    parent: DeploymentHandle, worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """Nobody works for a result that comes too late; nor can that request make more calls."""
    # On a slow machine the time may be over before the last hop has begun, and has to end.
    for seconds in (1, 5, 30):
        tag = next(_tags)
        with pytest.raises(DeadlineError):
            await parent.options(timeout_s=seconds).wait.remote(tag)
        if f"{tag} began" in await journal.all.remote():
            break
    await worker.options(timeout_s=30).until_cancelled.remote(tag)


async def test_a_thread_that_runs_on_keeps_its_slot(
    worker: DeploymentHandle, journal: DeploymentHandle
) -> None:
    """The caller of a sync method is told at once; the thread ends by itself."""
    tag = next(_tags)
    response = worker.wait_in_thread.remote(tag)
    await _until(journal, f"{tag} began")
    response.cancel()
    with pytest.raises(RequestCancelledError):
        await response
    assert f"{tag} ended" not in await journal.all.remote()
    await worker.release_threads.remote()
    await _until(journal, f"{tag} ended")


async def test_a_call_cancelled_while_it_queues_never_runs(mode: Mode) -> None:
    """It has not reached a replica, and never will."""
    async with run_app(app, mode=mode) as parent:
        handles = await parent.all.remote()
        worker, journal = handles["worker"], handles["journal"]
        full = [worker.wait.remote(f"full {n}") for n in range(10)]
        for n in range(10):
            await _until(journal, f"full {n} began")
        queued = worker.wait.remote("queued")
        queued.cancel()
        with pytest.raises(RequestCancelledError):
            await queued
        for response in full:
            response.cancel()
        assert await worker.ping.remote() == "pong"
        assert "queued began" not in await journal.all.remote()


async def test_a_cancelled_call_stops_the_stream_it_consumes(mode: Mode) -> None:
    """The producer two hops away ends, and gives its slot back."""
    async with run_app(consuming, mode=mode) as consumer:
        journal = await consumer.journal.remote()
        response = consumer.consume.remote("far")
        await _until(journal, "far began")
        response.cancel()
        await _until(journal, "far cancelled")
