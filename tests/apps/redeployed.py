"""An application in several versions: what changes when it is deployed again."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment(num_replicas=2)
class Backend:
    def __init__(self, version: str = "old") -> None:
        self.version = version

    async def __call__(self, *passed_on: str) -> str:
        return self.version

    def where(self) -> str:
        return serve.get_replica_context().replica_id


@serve.deployment
class Front:
    def __init__(self, backend: DeploymentHandle, version: str = "old") -> None:
        self.backend = backend
        self.version = version

    async def __call__(self) -> str:
        return f"{self.version}/{await self.backend.remote()}"

    async def chain(self) -> str:
        passed_on = self.backend.remote(self.backend.remote(self.backend.remote()))
        return f"{self.version}/{await passed_on}"

    async def stream(self, count: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield f"{self.version}/{await self.backend.remote()}"


@serve.deployment(name="Backend", num_replicas=2)
class OtherBackend:
    """What asks for `__call__` fits this no more, and what asks for `give` fits no other."""

    async def give(self, version: str) -> str:
        return version


@serve.deployment(name="Front")
class OtherFront:
    """The same for its callers, by calls that only fit the other backend."""

    def __init__(self, backend: DeploymentHandle) -> None:
        self.backend = backend

    async def __call__(self) -> str:
        return f"new/{await self.backend.give.remote('new')}"

    async def chain(self) -> str:
        return await self()

    async def stream(self, count: int) -> AsyncIterator[str]:
        for _ in range(count):
            yield await self()


@serve.deployment
class Once:
    """Can be constructed once in a folder."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        (self.folder / "lock").touch(exist_ok=False)

    async def __call__(self) -> str:
        return self.folder.name


@serve.deployment
class Tuned:
    """Counts its configurations, refuses a "bad" one, and takes its time for "slow" ones."""

    def __init__(self, *others: DeploymentHandle) -> None:
        self.seen: list[Any] = []

    async def reconfigure(self, config: Any) -> None:
        if config == "bad":
            raise ValueError(f"cannot work with {config}")
        if str(config).startswith("slow"):
            await asyncio.sleep(0.3)
        self.seen.append(config)

    async def __call__(self) -> list[Any]:
        return self.seen


def app(version: str = "old", *, replicas: int = 2) -> Any:
    backend = Backend.options(num_replicas=replicas).bind(version)
    return Front.options(num_replicas=replicas).bind(backend, version)


other = OtherFront.bind(OtherBackend.bind())
