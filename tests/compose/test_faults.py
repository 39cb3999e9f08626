"""The fault table between containers: one that is killed, and one that is taken off its network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compose.mesh import ComposeError, ComposeMesh
from tests.conftest import StartMesh
from tests.faults.arena import SITUATIONS, Arena, Fault, Member, Situation, suffer

pytestmark = [pytest.mark.containers, pytest.mark.slow, pytest.mark.alone]

APP = Path(__file__).parent.parent / "apps" / "faults" / "app.py"


class Containers(Arena):
    """The application in Docker Compose, asked over HTTP."""

    def __init__(self, mesh: ComposeMesh) -> None:
        self.mesh = mesh

    async def ask(self, what: str, *arguments: Any) -> Any:
        """By its gateway."""
        async with httpx.AsyncClient(timeout=60) as client:
            asked = await client.post(self.mesh.url, json={"do": what, "with": arguments})
        return asked.raise_for_status().json()["told"]

    async def docker(self, *arguments: str) -> str:
        """Run `docker ARGUMENTS`; returns what it printed."""
        return await asyncio.to_thread(self.mesh.docker, *arguments)

    async def life_of(self, container: str) -> str:
        """Another text once the container has ended."""
        told = "{{.RestartCount}} {{.State.Pid}}"
        return await self.docker("inspect", "--format", told, container)

    async def has_ended(self, container: str, life: str) -> bool:
        """Whether that life is over, or so in a moment."""
        for _ in range(20):
            if await self.life_of(container) != life:
                return True
        return False


@asynccontextmanager
async def killed(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """Its process ends at once, and with it the container; Docker starts it again."""
    assert isinstance(arena, Containers)
    script = f"import os; os.kill({victim.pid}, 9)"  # there is no program `kill`
    life = await arena.life_of(victim.replica)
    try:
        await arena.docker("exec", victim.replica, "python", "-c", script)
    except ComposeError as exc:
        # The container's end may come before that of the program in it, which is told in many ways.
        if "exited 137" not in str(exc) and not await arena.has_ended(victim.replica, life):
            raise
    yield


@asynccontextmanager
async def cut(arena: Arena, victim: Member) -> AsyncIterator[None]:
    """Its packets go nowhere, without a word; later it is put back, maybe at another address."""
    assert isinstance(arena, Containers)
    network = f"{arena.mesh.project}_default"
    await arena.docker("network", "disconnect", network, victim.replica)
    try:
        yield
    finally:
        alias = ("--alias", victim.deployment)
        await arena.docker("network", "connect", *alias, network, victim.replica)


FAULTS = [
    Fault(name="killed", strike=killed, seconds=1, loses=True, restarts=True),
    Fault(name="cut", strike=cut, seconds=5, loses=True),
]


@pytest.fixture(scope="module")
def arena(start_mesh: StartMesh) -> Arena:
    """The application of tests/apps/faults, up and healthy."""
    return Containers(start_mesh(f"{APP}:app"))


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_loses_no_call_that_could_be_saved(
    arena: Arena, fault: Fault, situation: Situation
) -> None:
    """As between processes; what comes back is found by its name alone."""
    async with asyncio.timeout(240):
        await suffer(arena, fault, situation)
