"""Greets, and says which replica did: two deployments, to watch while one of them is scaled."""

from typing import Any

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment(graceful_shutdown_wait_loop_s=0.5)
class Greeter:
    def __init__(self, greeting: str) -> None:
        self.greeting = greeting
        self.replica = serve.get_replica_context().replica_id

    async def greet(self, name: str) -> dict[str, str]:
        return {"greeting": f"{self.greeting} {name}", "replica": self.replica}


@serve.deployment
class Front:
    def __init__(self, greeter: DeploymentHandle) -> None:
        self.greeter = greeter

    async def __call__(self, request: Any) -> dict[str, str]:
        body = await request.json()
        answer: dict[str, str] = await self.greeter.greet.remote(body["name"])
        return answer


app = Front.bind(Greeter.bind("Hola"))
