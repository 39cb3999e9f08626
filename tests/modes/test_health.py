"""Health of whole applications: unhealthy replicas are replaced, busy ones are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.schema import ReplicaStatus
from meshgen.testing import MODES, Mode, run_app
from tests.apps.health import app


@pytest.mark.parametrize("mode", MODES)
async def test_a_replica_is_configured_before_its_first_call(mode: Mode) -> None:
    """Every one of them."""
    async with run_app(app, mode=mode) as handle:
        names = await asyncio.gather(*(handle.name.remote() for _ in range(10)))
        assert set(names) == {"first"}


@pytest.mark.parametrize("mode", MODES)
async def test_a_loop_that_is_blocked_for_a_while_loses_no_call(mode: Mode) -> None:
    """It is busy, not dead."""
    async with run_app(app, mode=mode) as handle:
        blocked = [handle.block.remote(1.5) for _ in range(2)]
        others = [handle.name.remote() for _ in range(10)]
        assert await asyncio.gather(*blocked) == ["back"] * 2
        assert await asyncio.gather(*others) == ["first"] * 10


async def test_an_unhealthy_replica_is_replaced_and_no_call_is_lost() -> None:
    """It drains as one that is told to leave; its successor is another process."""
    async with run_app(app, mode="processes") as handle:
        before: set[int] = set()
        while len(before) < 2:
            before.add(await handle.pid.remote())
        ill = await handle.fall_ill.remote()
        seen: set[int] = set()
        async with asyncio.timeout(30):
            while not seen - before:
                seen |= set(await asyncio.gather(*(handle.pid.remote() for _ in range(20))))
        async with asyncio.timeout(30):
            while ill in await asyncio.gather(*(handle.pid.remote() for _ in range(20))):
                pass


@pytest.fixture
def handle() -> Iterator[DeploymentHandle]:
    """The application as a script serves it."""
    serve.start({"port": 0})
    yield serve.run(app, route_prefix=None)
    serve.shutdown()


def _replicas() -> tuple[ReplicaStatus, ...]:
    return serve.status().applications["default"].deployments["Patient"].replicas


def test_the_status_tells_why_a_replica_was_replaced(handle: DeploymentHandle) -> None:
    """Its restarts, and the traceback of the user's check."""
    ill = handle.fall_ill.remote().result()
    while not any(replica.restarts for replica in _replicas()):
        assert handle.name.remote().result() == "first"
    assert ill not in (replica.pid for replica in _replicas())
    assert sorted(replica.restarts for replica in _replicas()) == [0, 1]
    (error,) = (replica.last_error for replica in _replicas() if replica.restarts)
    assert "was unhealthy" in error
    assert error.endswith("RuntimeError: I have a fever\n") and "check_health" in error
