"""What the soak calls: workers that are killed and scaled, others that are left alone, and a front
that calls workers from inside of the mesh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psutil

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

# The applications: the one that is attacked, and the one that is not.
WORKERS, STEADY = "workers", "steady"
# Beyond what travels inside of a call: such values stay where they were made.
_LARGE = 100_000
_ITEMS = 8


class Adder:
    """Numbers, by every kind of call."""

    @serve.method(idempotent=True)
    async def add(self, number: int) -> int:
        """One more."""
        return number + 1

    async def add_once(self, number: int) -> int:
        """The same, not to be run twice."""
        return number + 1

    async def count(self, first: int) -> AsyncIterator[int]:
        """Some numbers, one after the other."""
        for number in range(first, first + _ITEMS):
            yield number
            await asyncio.sleep(0)

    async def fill(self, number: int) -> bytes:
        """Many bytes."""
        return bytes([number % 256]) * _LARGE


class Doubler:
    """What comes second in a chain."""

    def __init__(self, adder: DeploymentHandle) -> None:
        self.adder = adder

    @serve.method(idempotent=True)
    async def double(self, number: int) -> int:
        """Twice as much."""
        return number * 2

    async def look(self, data: bytes) -> int:
        """What many bytes are."""
        assert len(data) == _LARGE
        return data[-1]


class Calls:
    """Each kind of call, and whether its answer is right. Made where a mesh is."""

    def __init__(self, adder: DeploymentHandle, doubler: DeploymentHandle) -> None:
        self._adder, self._doubler = adder, doubler
        self._count = adder.options(stream=True).count

    async def unary(self, number: int) -> bool:
        """An idempotent call."""
        found: int = await self._adder.add.remote(number)
        return found == number + 1

    async def once(self, number: int) -> bool:
        """One that may not run twice."""
        found: int = await self._adder.add_once.remote(number)
        return found == number + 1

    async def chained(self, number: int) -> bool:
        """Two idempotent calls, the first one's response passed on to the second."""
        found: int = await self._doubler.double.remote(self._adder.add.remote(number))
        return found == (number + 1) * 2

    async def stream(self, number: int) -> bool:
        """All of a generator's items. Each is looked at as it comes: a loss hides no wrong one."""
        right = True
        expected = number
        async for item in self._count.remote(number):
            right = right and item == expected
            expected += 1
        return right and expected == number + _ITEMS

    async def large(self, number: int) -> bool:
        """A large value that is passed on."""
        found: int = await self._doubler.look.remote(self._adder.fill.remote(number))
        return found == number % 256


class Front:
    """Calls the attacked workers from inside of the mesh."""

    def __init__(self, steady: DeploymentHandle) -> None:
        self.steady = steady
        self._calls: Calls | None = None

    @serve.method(idempotent=True)
    async def relay(self, kind: str, number: int) -> bool:
        """Make one of the calls here."""
        if self._calls is None:
            self._calls = Calls(
                serve.get_deployment_handle("Adder", WORKERS),
                serve.get_deployment_handle("Doubler", WORKERS),
            )
        call: Callable[[int], Awaitable[bool]] = getattr(self._calls, kind)
        return await call(number)

    async def state(self) -> dict[str, Any]:
        """What this process holds."""
        return state_here()


def state_here() -> dict[str, Any]:
    """The tasks of this loop, the open files and sockets of this process, and its own memory."""
    process = psutil.Process()
    return {
        "tasks": len(asyncio.all_tasks()),
        "files": process.num_fds(),
        "uss_mb": process.memory_full_info().uss / 1e6,
    }


def workers(replicas: int) -> serve.Application:
    """Adders and doublers, so many of each."""
    many = serve.deployment(
        num_replicas=replicas, max_ongoing_requests=200, graceful_shutdown_wait_loop_s=0.1
    )
    return many(Doubler).bind(many(Adder).bind())


def steady() -> serve.Application:
    """One of each, and a front: these live as long as the soak."""
    return serve.deployment(max_ongoing_requests=200)(Front).bind(workers(1))
