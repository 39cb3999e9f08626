"""The fault table: what may happen to a replica's process, whatever the calls there are doing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import pytest_asyncio

from meshgen.testing import run_app
from tests.apps.faults.app import app
from tests.faults.arena import SITUATIONS, Arena, Fault, Member, Processes, Situation, suffer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.alone,
]

# How long a slow replica runs, and how long it does not, by turns.
_FLICKER = 0.1
# Longer than it takes to find a replica that is not there any more.
_BLOCK = 5.5


@asynccontextmanager
async def down(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """It is told to stop."""
    os.kill(victim.pid, signal.SIGTERM)
    yield


@asynccontextmanager
async def killed(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """It ends at once."""
    os.kill(victim.pid, signal.SIGKILL)
    yield


@asynccontextmanager
async def paused(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """It hangs, and then goes on."""
    os.kill(victim.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(victim.pid, signal.SIGCONT)


@asynccontextmanager
async def slow(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """It runs half of the time only."""

    async def flicker() -> None:
        try:
            while True:
                os.kill(victim.pid, signal.SIGSTOP)
                await asyncio.sleep(_FLICKER)
                os.kill(victim.pid, signal.SIGCONT)
                await asyncio.sleep(_FLICKER)
        finally:
            os.kill(victim.pid, signal.SIGCONT)

    task = asyncio.create_task(flicker())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def blocked(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """The user's code blocks the loop of one replica, whichever."""
    blocking = asyncio.create_task(arena.ask("block", victim.deployment, _BLOCK))
    yield
    await blocking


FAULTS = [
    Fault(name="down", strike=down, seconds=5, restarts=True),
    Fault(name="killed", strike=killed, seconds=1, loses=True, restarts=True),
    Fault(name="paused", strike=paused, seconds=5, loses=True),
    Fault(name="slow", strike=slow, seconds=10),
    Fault(name="blocked", strike=blocked, seconds=_BLOCK + 4),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=FAULTS, ids=str)
async def fault(request: pytest.FixtureRequest) -> AsyncIterator[Fault]:
    """Each fault; on a mesh of its own, so that none is left from another."""
    found: Fault = request.param
    yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena(fault: Fault) -> AsyncIterator[Arena]:
    """Three producers, three consumers, a board and a front."""
    async with AsyncExitStack() as stack:
        yield Processes(await stack.enter_async_context(run_app(app, mode="processes")))


@pytest.mark.parametrize("situation", SITUATIONS)
async def test_a_fault_loses_no_call_that_could_be_saved(
    arena: Arena, fault: Fault, situation: Situation
) -> None:
    """Idempotent calls are answered, others told in time; the replica comes back by itself."""
    print(fault, situation, file=sys.stderr)
    async with asyncio.timeout(180):
        await suffer(arena, fault, situation)
