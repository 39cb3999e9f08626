"""Calls that a local mesh lets through and a built one would not are told where they happen."""

from __future__ import annotations

import httpx

from tests.apps.boundary.app import app
from tests.deploy.meshes import deploy, local_mesh


async def test_each_caller_without_an_edge_is_told_once() -> None:
    """By its own line in the log; calls that were bound or declared go without."""
    lines: list[str] = []
    async with local_mesh(lambda name, line, _: lines.append(f"{name} {line}")) as mesh:
        await deploy(mesh, app, prefix="/")
        address = mesh.http_address or ""
        async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as web:
            for who in ("friend", "declared", "stranger", "stranger"):
                asked = await web.post("/", json={"who": who, "name": "Dora"})
                assert asked.json()["said"] == "gold for Dora"
    told = [line for line in lines if "was not given" in line]
    assert len(told) == 1 and told[0].startswith("stranger#0 ")
    assert "may_call=['Vault']" in told[0]
