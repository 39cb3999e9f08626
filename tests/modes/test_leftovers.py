"""What stays stored after calls that passed values on: nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from meshgen.errors import RequestCancelledError
from meshgen.runtime.replica import Replica
from meshgen.serve.handle import DeploymentHandle
from tests.runtime.replicas import OVER, Mesh, Over, run_here, until


class Stage:
    """Makes, takes, keeps and gives away values, in calls of itself."""

    async def block(self, size: int) -> Any:
        """A value of so many bytes."""
        return np.ones(size, dtype="u1")

    async def never(self) -> None:
        """One that is still to come when its call is cancelled."""
        await asyncio.Event().wait()

    async def fail(self) -> None:
        """None."""
        raise LookupError("no value")

    async def size(self, *blocks: Any) -> int:
        """Take values."""
        return sum(map(np.size, blocks))

    async def open_box(self, box: Any) -> Any:
        """Take a reference, and await it."""
        return np.size(await box[0])

    async def drop(self, box: Any) -> None:
        """Take a reference, and forget it."""

    async def give(self, stage: DeploymentHandle, size: int) -> Any:
        """Return a reference."""
        return [stage.block.remote(size)]

    async def chain(self, stage: DeploymentHandle, size: int) -> Any:
        """Chain from inside."""
        return await stage.size.remote(stage.block.remote(size), stage.block.remote(size))


SIZES = [10, 200_000]


@pytest.fixture(params=OVER)
async def mesh(request: pytest.FixtureRequest) -> AsyncIterator[Mesh]:
    """Three replicas in this process, whose stores a test can look at."""
    over: Over = request.param
    async with run_here(Stage, over=over, replicas=3, max_ongoing_requests=100) as found:
        yield found


def _is_occupied(replica: Replica) -> bool:
    return len(replica.values) > 0 or replica.occupancy.ongoing > 0


async def _nothing_is_left(mesh: Mesh) -> None:
    def is_empty() -> bool:
        # An exception's traceback and the frame that caught it hold each other, and a response:
        # also in calls that end meanwhile.
        gc.collect()
        return not any(map(_is_occupied, mesh.replicas))

    await until(is_empty)
    assert not any(len(each.results) or len(each.uploads) for each in mesh.replicas)


@pytest.mark.parametrize("size", SIZES)
async def test_chained_values_go_with_the_last_response(mesh: Mesh, size: int) -> None:
    """They stay as long as that, and no longer; small ones come along with the calls."""
    stage = mesh.handle
    response = stage.block.remote(size)
    assert await stage.size.remote(response, response) == 2 * size
    assert sum(len(each.values) for each in mesh.replicas) == (size == max(SIZES))
    assert len(await response) == size
    assert await stage.chain.remote(stage, size) == 2 * size
    del response
    await _nothing_is_left(mesh)


@pytest.mark.parametrize("size", SIZES)
async def test_results_that_nobody_asks_for_go(mesh: Mesh, size: int) -> None:
    """Fetched or not."""
    responses = [mesh.handle.block.remote(size) for _ in range(20)]
    assert len(await responses[0]) == size
    del responses
    await _nothing_is_left(mesh)


@pytest.mark.parametrize("size", SIZES)
async def test_referenced_values_go_with_the_last_reference(mesh: Mesh, size: int) -> None:
    """Awaited, forgotten and returned ones."""
    stage = mesh.handle
    assert await stage.open_box.remote([stage.block.remote(size)]) == size
    await stage.drop.remote([stage.block.remote(size)])
    (ref,) = await stage.give.remote(stage, size)
    assert len(await ref) == size
    assert await stage.open_box.remote(stage.give.remote(stage, size)) == size
    await stage.give.remote(stage, size)
    del ref
    await _nothing_is_left(mesh)


async def test_failures_go(mesh: Mesh) -> None:
    """They are kept no longer than values."""
    stage = mesh.handle
    for call in (
        stage.size.remote(stage.fail.remote()),
        stage.open_box.remote([stage.fail.remote()]),
    ):
        with pytest.raises(LookupError):
            await call
    await stage.drop.remote([stage.fail.remote()])
    del call
    await _nothing_is_left(mesh)


async def test_what_was_cancelled_leaves_nothing(mesh: Mesh) -> None:
    """Upstream or downstream, early or late."""
    stage = mesh.handle
    for turns in range(30):
        upstream = stage.never.remote()
        downstream = stage.size.remote(upstream, stage.block.remote(200_000))
        boxed = stage.open_box.remote([upstream])
        for _ in range(turns):
            await asyncio.sleep(0)
        for response in (downstream, boxed, upstream):
            response.cancel()
            with pytest.raises(RequestCancelledError):
                await response
    del upstream, downstream, boxed, response
    await _nothing_is_left(mesh)


async def test_a_hundred_chains_at_once_leave_nothing(mesh: Mesh) -> None:
    """Values that several calls wait for, of which some fail."""
    stage = mesh.handle
    made = [stage.block.remote(size) for size in range(0, 200_000, 2000)]
    failed = [stage.fail.remote() for _ in range(10)]
    calls = [stage.size.remote(*made) for _ in range(10)]
    calls += [stage.size.remote(made[0], each) for each in failed]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [int] * 10 + [LookupError] * 10
    del made, failed, calls, outcomes
    await _nothing_is_left(mesh)
