"""Large values on their way past an ingress, which counts the bytes of its network."""

from pathlib import Path
from typing import Any

import meshgen
from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment
class Maker:
    async def make(self, size: int) -> bytes:
        return bytes(size)

    async def put(self, size: int) -> list[Any]:
        return [meshgen.put(bytes(size))]


@serve.deployment
class Taker:
    async def size(self, data: bytes) -> int:
        return len(data)

    async def size_of(self, refs: list[Any]) -> int:
        return sum([len(await ref) for ref in refs])


@serve.deployment
class Ingress:
    def __init__(self, maker: DeploymentHandle, taker: DeploymentHandle) -> None:
        self.maker = maker
        self.taker = taker

    async def __call__(self, request: Any) -> dict[str, int]:
        asked = await request.json()
        await self.taker.size.remote(self.maker.make.remote(1))  # connections are open from here on
        before = _network_bytes()
        size = await getattr(self, asked["way"])(asked["size"])
        return {"size": size, "moved": _network_bytes() - before}

    async def chained(self, size: int) -> int:
        return await self.taker.size.remote(self.maker.make.remote(size))

    async def referred(self, size: int) -> int:
        return await self.taker.size_of.remote([self.maker.make.remote(size)])

    async def put(self, size: int) -> int:
        return await self.taker.size_of.remote(await self.maker.put.remote(size))

    async def awaited(self, size: int) -> int:
        return await self.taker.size.remote(await self.maker.make.remote(size))


def _network_bytes() -> int:
    """Received and sent by this container so far, its loopback left out."""
    lines = [line.split(":", 1) for line in Path("/proc/net/dev").read_text().splitlines()[2:]]
    counted = [fields.split() for name, fields in lines if name.strip() != "lo"]
    return sum(int(fields[0]) + int(fields[8]) for fields in counted)


app = Ingress.bind(Maker.bind(), Taker.bind())
