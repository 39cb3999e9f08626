"""A mesh that is called, killed and scaled all at a time, and what is seen of it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import psutil

from benchmarks.soakapp import STEADY, WORKERS, Calls, state_here, workers
from meshgen.deploy.local import LocalMesh
from meshgen.errors import MeshError
from meshgen.graph import build_graph
from meshgen.serve.handle import DeploymentHandle
from meshgen.serve.schema import ReplicaState, ReplicaStatus

_CALLERS = 100
_KILL_EVERY = 10.0
# A call without an outcome after so many seconds hangs.
_HANG = 30.0
# How much of the run is over when the workers get so many replicas.
SCALES = ((0.15, 4), (0.35, 2), (0.55, 4), (0.75, 2))
KINDS = ("unary", "once", "chained", "stream", "large")
# How they are made: from here, from inside of the mesh, or to workers that nobody attacks.
WAYS = ("here", "relayed", "steady")
# Calls that are never lost: idempotent ones, and all to who is not attacked.
SAVED = ("unary", "chained", "steady")


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """How long it goes on: for so many seconds, or until so many calls have ended."""

    seconds: float
    calls: int | None = None


@dataclass
class Soak:
    """A mesh that runs, and what was seen of it so far."""

    mesh: LocalMesh
    front: DeploymentHandle
    calls: Calls
    steady: Calls
    length: Length
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    ended: int = 0
    kills: int = 0
    # Seconds since the beginning, and megabytes by process.
    memory: list[tuple[float, dict[str, float]]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def progress(self) -> float:
        """How much of the run is over; 1 at its end."""
        if self.length.calls is not None:
            return self.ended / self.length.calls
        return (time.monotonic() - self.began) / self.length.seconds

    async def run(self) -> None:
        """All of it at a time, to its end."""
        beside = [asyncio.create_task(each) for each in (self._kill(), self._watch())]
        numbers = itertools.count()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._scale())
                for _ in range(_CALLERS):
                    group.create_task(self._call(numbers))
        finally:
            for task in beside:
                task.cancel()
            ended = await asyncio.gather(*beside, return_exceptions=True)
        for error in ended:
            if not isinstance(error, asyncio.CancelledError):
                raise error or AssertionError("it was to go on to the end")

    async def _call(self, numbers: itertools.count[int]) -> None:
        choose = random.Random(next(numbers))
        while self.progress() < 1:
            way, kind = choose.choice(WAYS), choose.choice(KINDS)
            outcome = await _outcome(self.made(way, kind), next(numbers))
            self.outcomes["steady" if way == "steady" else kind][outcome] += 1
            self.ended += 1

    def made(self, way: str, kind: str) -> Callable[[int], Awaitable[bool]]:
        """A call of some kind, made in some way."""
        if way == "relayed":
            return partial(self._relay, kind)
        calls = self.steady if way == "steady" else self.calls
        call: Callable[[int], Awaitable[bool]] = getattr(calls, kind)
        return call

    async def _relay(self, kind: str, number: int) -> bool:
        found: bool = await self.front.relay.remote(kind, number)
        return found

    async def _kill(self) -> None:
        """One of the workers' replicas, again and again."""
        while True:
            await asyncio.sleep(_KILL_EVERY)
            if running := [r for r in self.replicas() if r.state is ReplicaState.RUNNING]:
                victim = random.choice(running)
                say(f"kills {victim.replica_id}")
                with suppress(ProcessLookupError):
                    os.kill(victim.pid or 0, signal.SIGKILL)
                self.kills += 1

    async def _scale(self) -> None:
        for when, replicas in SCALES:
            while self.progress() < when:  # noqa: ASYNC110 - what it waits for has no event
                await asyncio.sleep(0.1)
            say(f"scales to {replicas} replicas")
            await self.mesh.deploy(build_graph(workers(replicas), app=WORKERS), None)
            say(f"has {replicas} replicas")

    async def _watch(self) -> None:
        """Note once a second what memory the processes have."""
        while True:
            self.memory.append((time.monotonic() - self.began, self._memory()))
            await asyncio.sleep(1)

    def _memory(self) -> dict[str, float]:
        """Megabytes of the driver, and of a replica of each deployment on average."""
        found = {"driver": [_unique(os.getpid())]}
        for app, name in self.mesh.status().applications.items():
            for deployment, overview in name.deployments.items():
                sizes = [_unique(each.pid) for each in overview.replicas]
                found[f"{app} {deployment}"] = [size for size in sizes if size]
        return {name: statistics.mean(sizes) for name, sizes in found.items() if sizes}

    def replicas(self, app: str = WORKERS) -> list[ReplicaStatus]:
        """All of an application."""
        found = self.mesh.status().applications[app].deployments.values()
        return [replica for deployment in found for replica in deployment.replicas]

    async def holdings(self) -> dict[str, int]:
        """What there must be no more of in the end than at the beginning."""
        # Before the front is asked, which would count.
        replicas = [each for app in (WORKERS, STEADY) for each in self.replicas(app)]
        far, here = await self.front.state.remote(), state_here()
        return {
            "tasks of the driver": here["tasks"],
            "tasks of the front": far["tasks"],
            "files and sockets of the driver": here["files"],
            "files and sockets of the front": far["files"],
            "calls that still run": sum(each.ongoing_requests for each in replicas),
            "stored values": sum(each.stored_values for each in replicas),
        }


async def _outcome(call: Callable[[int], Awaitable[bool]], number: int) -> str:
    """`right`, `wrong`, `hang`, or the error's name."""
    try:
        async with asyncio.timeout(_HANG):
            return "right" if await call(number) else "wrong"
    except TimeoutError:
        return "hang"
    except MeshError as exc:
        return type(exc).__name__


def _unique(pid: int | None) -> float:
    """Megabytes that only this process has; none if it is gone."""
    if pid is None:
        return 0.0
    try:
        uss: int = psutil.Process(pid).memory_full_info().uss
    except psutil.Error:
        return 0.0
    return uss / 1e6


def say(line: str) -> None:
    """Tell whoever watches."""
    print(f"soak: {line}", file=sys.stderr, flush=True)
