"""The gateway of a local mesh."""

from __future__ import annotations

import asyncio
import signal

import httpx
import psutil

from tests.apps import web
from tests.deploy.meshes import deploy, local_mesh
from tests.programs import assert_gone


async def test_a_gateway_that_is_killed_comes_back_at_the_same_address() -> None:
    """Its socket outlives it: requests that come meanwhile are answered by the next."""
    async with asyncio.timeout(60), local_mesh() as mesh:
        await deploy(mesh, web.Bare.bind(), prefix="/")
        address = mesh.http_address
        assert address is not None
        (gateway,) = [
            each
            for each in psutil.Process().children()
            if "meshgen.runtime.gateway" in each.cmdline()
        ]
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client:
            assert (await client.get("/")).text == "no request needed"
            gateway.send_signal(signal.SIGKILL)
            assert_gone([gateway], within=5)
            assert (await client.get("/")).text == "no request needed"
        assert (mesh.http_address, mesh.status().proxies) == (address, {"gateway": "HEALTHY"})
