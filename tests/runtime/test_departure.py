"""Replicas that are unhealthy: real processes, which end with status 1 to be started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen.settings import leaving_mark
from tests.runtime import workers
from tests.runtime.processes import Process, calling, service
from tests.runtime.replicas import short_folder, until

QUICK: dict[str, Any] = {"health_check_period_s": 0.1, "max_ongoing_requests": 5}
BUSY: dict[str, Any] = {"health_check_period_s": 0.1, "health_check_timeout_s": 20.0}


@pytest.fixture
def health() -> Iterator[str]:
    """Where probes ask, at an address that nobody else can take meanwhile."""
    with short_folder() as folder:
        yield f"unix:{folder}/health.sock"


def _is_serving(address: str, service: str = "") -> bool:
    """What a probe is told, within a second; one of five, as others keep the machine busy, too."""
    for tries_left in reversed(range(5)):
        try:
            return _asked(address, service)
        except grpc.RpcError as exc:
            if not tries_left or exc.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
    raise AssertionError


def _asked(address: str, service: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        reply = health_pb2_grpc.HealthStub(channel).Check(request, timeout=1.0)
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


async def _failures(process: Process) -> list[tuple[int, str]]:
    """All failures that it reports until it is unhealthy, and why it is in the end."""
    told = []
    while "phase" not in (report := await asyncio.to_thread(process.report)):
        if "health_failures" in report:
            told.append((report["health_failures"], report["health_error"].splitlines()[-1]))
    assert report["phase"] == "unhealthy"
    return [*told, (0, report["error"].splitlines()[-1])]


async def test_an_unhealthy_replica_leaves_as_one_that_is_told_to(
    tmp_path: Path, health: str
) -> None:
    """Probes and callers hear of it first, calls that run are finished, and it exits with 1."""
    with service(workers.Sick, {"health": health}, **QUICK) as process:
        process.next("phase")
        assert await asyncio.to_thread(_is_serving, health)
        async with calling(process) as handle:
            response = handle.finish.remote(str(tmp_path / "marker"))
            await until((tmp_path / "marker").exists)
            await handle.fall_ill.remote()
            said = "ValueError: I am ill"
            assert await _failures(process) == [(1, said), (2, said), (3, said), (0, said)]
            await until(leaving_mark(process.socket).exists)
            for name in ("", "default.sick.v1.SickService"):
                assert not await asyncio.to_thread(_is_serving, health, name)
            assert not response.done
            (tmp_path / "marker").unlink()
            assert await response == "finished"
        status, _, err = await asyncio.to_thread(process.ended)
    assert status == 1
    assert err.count("of 3 failed: Traceback") == 3
    assert "default/Sick#0 is unhealthy and ends, to be started again" in err


@pytest.mark.slow
async def test_a_replica_whose_loop_never_turns_again_ends_all_the_same(tmp_path: Path) -> None:
    """Its line is named, and no drain is waited for longer than it may take."""
    options: dict[str, Any]
    options = {"health_check_timeout_s": 1.0, "graceful_shutdown_timeout_s": 0.1}
    with service(workers.Sick, **QUICK, **options) as process:
        process.next("phase")
        async with calling(process) as handle:
            handle.block.remote(str(tmp_path / "marker"))
            told = await _failures(process)
            assert [count for count, _ in told] == [1, 2, 3, 0]
            assert all("workers.py:" in error and "in finish" in error for _, error in told)
            status, _, err = await asyncio.to_thread(process.ended)
    assert status == 1
    assert "default/Sick#0 could not end by itself" in err


async def test_a_replica_whose_loop_is_blocked_is_busy_and_not_dead(
    tmp_path: Path, health: str
) -> None:
    """Probes are answered in less than a second; the log names the line; then it goes on."""
    with service(workers.Sick, {"health": health}, **BUSY) as process:
        process.next("phase")
        async with calling(process) as handle:
            blocked = handle.block.remote(str(tmp_path / "marker"))
            await until((tmp_path / "marker").exists)
            for name in ("", "default.sick.v1.SickService", "meshgen.v1.MeshService"):
                assert await asyncio.to_thread(_is_serving, health, name)
            line = await asyncio.to_thread(process.error_line)
            (tmp_path / "marker").unlink()
            await blocked
    assert "the event loop has been blocked for 1." in line and "in finish: " in line


def test_readiness_waits_for_the_constructor_and_reconfigure(health: str) -> None:
    """Both keep the loop, and still a probe is answered: not yet."""
    with service(workers.Loading, {"health": health}, user_config="a model") as process:
        for step in ("construct", "reconfigure"):
            assert process.line() == f"{step}\n"
            assert not _is_serving(health)
            (process.root / "go on").touch()
        process.next("phase")
        assert _is_serving(health)
