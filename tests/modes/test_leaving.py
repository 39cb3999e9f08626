"""Replicas that leave while somebody still needs values that they keep."""

from __future__ import annotations

import asyncio

import pytest

from meshgen.testing import run_app
from tests.apps.futures import app
from tests.modes.test_references import LARGE, Handles, _replace


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_call_that_runs_outlives_the_replica_that_it_has_a_reference_to(size: int) -> None:
    """Though it has not asked for the value, nor kept it, by the time that the replica leaves."""
    async with run_app(app, mode="processes") as front:
        handles: Handles = await front.all.remote()
        maker, taker = handles["maker"], handles["taker"]
        calls = [taker.open_late.remote("gate", [maker.block.remote(size)]) for _ in range(3)]
        await taker.begin.remote("gate")
        await _replace(maker)
        await taker.open.remote("gate")
        assert await asyncio.gather(*calls) == [size] * 3
