"""Tells what a deployment finds around it."""

import contextvars
from typing import Any

from meshgen import serve
from meshgen.serve.context import current_request
from meshgen.serve.handle import DeploymentHandle

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


@serve.deployment
class Inner:
    def __init__(self) -> None:
        context = serve.get_replica_context()
        self.at_construction = (context.app_name, context.deployment, context.replica_id)

    def replica(self) -> Any:
        context = serve.get_replica_context()
        assert context.servable_object is self
        now = (context.app_name, context.deployment, context.replica_id)
        return self.at_construction == now, now

    def request_id(self) -> str:
        request = current_request.get()
        return "" if request is None else request.request_id

    async def async_request_id(self) -> str:
        return self.request_id()

    def paint(self) -> str:
        before = colour.get()
        colour.set("red")
        return before


@serve.deployment
class Outer:
    def __init__(self, inner: DeploymentHandle) -> None:
        self.inner = inner

    async def request_ids(self) -> list[str]:
        request = current_request.get()
        assert request is not None
        return [
            request.request_id,
            await self.inner.request_id.remote(),
            await self.inner.async_request_id.remote(),
        ]

    async def replicas(self) -> Any:
        context = serve.get_replica_context()
        return context.deployment, await self.inner.replica.remote(), context.deployment

    async def paint_twice(self) -> list[str]:
        return [await self.inner.paint.remote(), await self.inner.paint.remote()]

    async def __call__(self, request: Any) -> list[str]:
        return [*await self.request_ids(), serve.get_replica_context().deployment]


app = Outer.bind(Inner.bind())
