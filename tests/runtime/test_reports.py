"""What a replica tells its supervisor."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

from meshgen.runtime.reports import Reports, reporting
from meshgen.types import Payload
from tests.runtime.replicas import Mesh, run_here


@contextmanager
def _pipe() -> Iterator[tuple[Reports, Any]]:
    reads, writes = os.pipe()
    with os.fdopen(reads) as lines:
        try:
            yield Reports(writes), lines
        finally:
            os.close(writes)


async def _next(lines: Any) -> Any:
    return json.loads(await asyncio.wait_for(asyncio.to_thread(lines.readline), 10))


def test_a_report_is_one_line_of_json() -> None:
    """Line breaks inside of it included."""
    with _pipe() as (reports, lines):
        reports.tell(phase="failed", error="line 1\nline 2")
        assert json.loads(lines.readline()) == {"phase": "failed", "error": "line 1\nline 2"}


def test_without_a_supervisor_nothing_is_told() -> None:
    """A container has none."""
    reports = Reports(-1)
    reports.tell(phase="serving")
    assert not reports


def test_long_lines_of_several_threads_stay_whole() -> None:
    """A pipe takes only a few KB in one piece."""
    text = "x" * 50_000
    with _pipe() as (reports, lines):
        threads = [
            threading.Thread(target=lambda: reports.tell(health_error=text)) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        told = [json.loads(lines.readline()) for _ in threads]
        for thread in threads:
            thread.join()
    assert told == [{"health_error": text}] * 4


class Gate:
    """Calls that last as long as the test likes."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def wait(self) -> None:
        """Until it is open."""
        await self.open.wait()

    async def quick(self) -> int:
        """End at once."""
        return 1


def _quickly(mesh: Mesh, reports: Reports) -> AbstractAsyncContextManager[None]:
    return reporting(mesh.replicas[0], reports, period=0.05)


@asynccontextmanager
async def _reported() -> AsyncIterator[tuple[Mesh, Any]]:
    with _pipe() as (reports, lines):
        async with run_here(Gate) as mesh, _quickly(mesh, reports):
            yield mesh, lines


async def test_how_many_calls_run_is_told_when_it_changes() -> None:
    """One call, two, and none again; what has not changed is not told."""
    async with _reported() as (mesh, lines):
        calls = [mesh.handle.wait.remote()]
        assert await _next(lines) == {"ongoing": 1}
        calls.append(mesh.handle.wait.remote())
        assert await _next(lines) == {"ongoing": 2}
        mesh.replicas[0].context.servable_object.open.set()
        await asyncio.gather(*calls)
        assert await _next(lines) == {"ongoing": 0}


async def test_values_are_told_as_they_come_and_go() -> None:
    """Their number and their bytes."""
    async with _reported() as (mesh, lines):
        values = mesh.replicas[0].values
        values.put("v", Payload(b"x" * 1000))
        assert await _next(lines) == {"stored_values": 1, "stored_bytes": 1000}
        values.release("v")
        assert await _next(lines) == {"stored_values": 0, "stored_bytes": 0}


async def test_who_does_not_read_stops_nobody() -> None:
    """A supervisor that is stopped has a full pipe; the newest figures wait until it reads."""
    with _pipe() as (reports, lines):
        os.set_blocking(reports_fd := reports._descriptor, False)
        try:
            while True:
                os.write(reports_fd, b'{"ongoing": 99}\n')
        except BlockingIOError:
            os.set_blocking(reports_fd, True)
        async with run_here(Gate) as mesh, _quickly(mesh, reports):
            call = mesh.handle.wait.remote()
            assert await mesh.handle.quick.remote() == 1
            told = {"ongoing": 99}
            while told["ongoing"] == 99:
                told = await _next(lines)
            assert told == {"ongoing": 1}
            mesh.replicas[0].context.servable_object.open.set()
            await call
