"""A vault that some may open: who was bound to it, or declares it, and nobody else."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment
class Vault:
    """What is to be kept safe."""

    async def open(self, name: str) -> str:
        return f"gold for {name}"


@serve.deployment
class Friend:
    """Has been given the vault's handle."""

    def __init__(self, vault: DeploymentHandle) -> None:
        self.vault = vault

    async def try_it(self, name: str) -> str:
        return str(await self.vault.open.remote(name))


class Finder:
    """Looks the vault up by a name that its source does not tell."""

    async def try_it(self, name: str) -> str:
        wanted = "Vau" + "lt"
        return str(await serve.get_deployment_handle(wanted).open.remote(name))


@serve.deployment
class Front:
    """Asks somebody to open the vault, and tells what came of it."""

    def __init__(self, **handles: DeploymentHandle) -> None:
        self.handles = handles

    async def __call__(self, request: Request) -> Any:
        asked = await request.json()
        try:
            said = await self.handles[asked["who"]].try_it.remote(asked["name"])
            return {"said": said, "replica": serve.get_replica_context().replica_id}
        except Exception as exc:
            return {"error": type(exc).__name__, "message": str(exc)}

    async def greet(self, name: str) -> str:
        return f"Hello {name}"


vault = Vault.bind()
app = Front.bind(
    friend=Friend.bind(vault),
    declared=serve.deployment(Finder, name="Declared", may_call=["Vault"]).bind(),
    stranger=serve.deployment(Finder, name="Stranger").bind(),
)
