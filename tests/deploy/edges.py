"""A mesh of `meshgen run` whose published ports are tested."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import httpx

from tests.programs import Program, start

SERVICE = "app.shop.v1.ShopService"
APP = """
import os
from collections.abc import AsyncIterator
from starlette.requests import Request
from meshgen import serve

@serve.deployment
class Shop:
    async def __call__(self, request: Request):
        return dict(request.headers)
    async def double(self, x: int) -> int:
        return 2 * x
    async def flood(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 100_000
        finally:
            print("the flood is over")

app = Shop.bind()
"""
RUN = """
import os, sys
os.environ.update({environment!r})
from meshgen.cli import main
main(["run", "app:app", "--name", "app", "--port", "0", *{options!r}])
"""


@dataclass(frozen=True, slots=True)
class Edge:
    """A mesh that runs, and where."""

    program: Program
    http: str
    grpc: str

    @property
    def port(self) -> int:
        """That of gRPC."""
        return int(self.grpc.rpartition(":")[2])

    def get(self, path: str = "/", token: str | None = None, **given: Any) -> httpx.Response:
        """The answer of HTTP."""
        return self.request("GET", path, token, **given)

    def request(self, method: str, path: str, token: str | None, **given: Any) -> httpx.Response:
        """The same, of any method."""
        headers = {**given.pop("headers", {}), **bearer(token)}
        url = f"{self.http}{path}"
        with httpx.Client(trust_env=False, timeout=20, verify=given.pop("verify", True)) as web:
            return web.request(method, url, headers=headers, **given)


def bearer(token: str | None) -> dict[str, str]:
    """The header that brings it."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


@contextmanager
def running(folder: Path, *options: str | Path, **limits: object) -> Iterator[Edge]:
    """A mesh with these options and limits."""
    (folder / "app.py").write_text(APP)
    environment = {f"MESHGEN_LIMIT_{name.upper()}": str(each) for name, each in limits.items()}
    code = RUN.format(environment=environment, options=[str(each) for each in options])
    with start("-c", code, cwd=folder) as program:
        address = program.until(r"^gRPC on (\S+)")[1]
        yield Edge(program, program.until(r"^HTTP on (\S+)")[1], address)


async def double(channel: grpc.aio.Channel, token: str | None = None) -> bytes:
    """What the RPC makes of a four: an eight."""
    metadata = tuple(bearer(token).items())
    call = channel.unary_unary(f"/{SERVICE}/Double")(b"\x08\x04", metadata=metadata, timeout=20)
    answer: bytes = await call
    return answer
