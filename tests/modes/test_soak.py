"""Trees of calls that are cancelled at random leave nothing behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from meshgen.errors import MeshError
from meshgen.serve.handle import DeploymentHandle
from tests.runtime.replicas import OVER, Mesh, Over, run_here, until

_TREES = {"memory": 10_000, "loopback": 1_000}
# What is in no link's frame: it stays with the replica that made it.
_LARGE = 70_000


class _Node:
    """Grows a tree of calls in which every way to call and to pass on occurs."""

    itself: DeploymentHandle

    async def grow(self, depth: int, seed: int) -> int:
        choose = random.Random(seed)
        await asyncio.sleep(choose.random() * 0.002)
        if depth == 0:
            return 1
        branches = [self._awaited, self._chained, self._nested, self._large, self._left, self._read]
        branch = choose.choice(branches)
        return 1 + await branch(depth - 1, seed * 31 + 7)

    async def _awaited(self, depth: int, seed: int) -> int:
        grow = self.itself.grow
        return sum(await asyncio.gather(grow.remote(depth, seed), grow.remote(depth, seed + 1)))

    async def _chained(self, depth: int, seed: int) -> Any:
        response = self.itself.grow.remote(depth, seed)
        return await self.itself.add.remote(response, self.itself.add.remote(response, 1))

    async def _nested(self, depth: int, seed: int) -> Any:
        return await self.itself.add_all.remote([self.itself.grow.remote(depth, seed)])

    async def _large(self, depth: int, seed: int) -> Any:
        return await self.itself.size.remote(self.itself.fill.remote(depth, seed))

    async def _left(self, depth: int, seed: int) -> Any:
        self.itself.grow.remote(depth, seed)
        return await self.itself.grow.remote(0, seed)

    async def _read(self, depth: int, seed: int) -> int:
        total = 0
        async for grown in self.itself.options(stream=True).several.remote(depth, seed):
            total += grown
        return total

    async def add(self, one: int, other: int) -> int:
        return one + other

    async def add_all(self, refs: list[Any]) -> int:
        return sum([await ref for ref in refs])

    async def fill(self, depth: int, seed: int) -> Any:
        await self.itself.grow.remote(depth, seed)
        return np.zeros(_LARGE, dtype=np.uint8)

    async def size(self, array: Any) -> int:
        return int(array.nbytes)

    async def several(self, depth: int, seed: int) -> AsyncIterator[int]:
        for number in range(3):
            yield await self.itself.grow.remote(depth, seed + number)


async def _cancelled_tree(root: DeploymentHandle, seed: int) -> None:
    choose = random.Random(seed)
    response = root.grow.remote(3, seed)
    with suppress(MeshError, TimeoutError):
        async with asyncio.timeout(choose.random() * 0.05):
            if choose.random() < 0.5:
                await asyncio.sleep(choose.random() * 0.02)
                response.cancel()
            await response


def _is_quiet(mesh: Mesh) -> bool:
    """Whether no replica runs a call or keeps a value."""
    return not any(replica.occupancy.ongoing or len(replica.values) for replica in mesh.replicas)


@pytest.mark.slow
@pytest.mark.parametrize("over", OVER)
async def test_cancelled_trees_leave_no_call_and_no_value(over: Over) -> None:
    """Ten thousand of them, two hundred at a time, each cut down at some moment of its growth."""
    async with run_here(_Node, over=over, replicas=3, max_ongoing_requests=100_000) as mesh:
        _Node.itself = mesh.handle
        for first in range(0, _TREES[over], 200):
            trees = (_cancelled_tree(mesh.handle, seed) for seed in range(first, first + 200))
            await asyncio.gather(*trees)
            await until(lambda: _is_quiet(mesh), seconds=30)
        assert [replica.values.stats.bytes for replica in mesh.replicas] == [0, 0, 0]
