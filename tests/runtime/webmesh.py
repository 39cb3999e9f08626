"""A mesh that carries HTTP calls in memory to the code that replicas run, `http.answer`.

Every argument and item is pickled as on the wire.
"""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn

import httpx
from starlette.requests import Request
from starlette.types import Message

from meshgen.items import ItemBuffer
from meshgen.listener import bind
from meshgen.reply import Reply
from meshgen.runtime.http import answer
from meshgen.runtime.httpmessage import HTTP_METHOD
from meshgen.runtime.httpserver import make_server
from meshgen.runtime.webgateway import make_app
from meshgen.spec import AppSpec, MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import CallPolicy, DeploymentID, Payload, RequestContext
from tests.callers import KeepsNothing

Code = Callable[..., Any]


class InMemoryMesh(KeepsNothing):
    """Carries HTTP calls to functions of this process; `contexts` are those of the calls made."""

    def __init__(self, apps: Mapping[str, Code]) -> None:
        self.mesh = MeshSpec(
            apps={prefix: app_at(prefix) for prefix in apps},
        )
        self.contexts: list[RequestContext] = []
        self._apps = apps
        self._tasks: set[asyncio.Task[None]] = set()

    def open_stream(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        items: ItemBuffer,
    ) -> None:
        """Start the call in a task that `items.cancel()` cancels."""
        assert method == HTTP_METHOD
        self.contexts.append(context)
        task = asyncio.ensure_future(self._run(stub, pickle.dumps(arguments), items))
        self._tasks.add(task)

        def cancel() -> None:
            task.cancel()

        items.on_cancel = cancel

    async def _run(self, stub: DeploymentStub, arguments: bytes, items: ItemBuffer) -> None:
        (request,), _ = pickle.loads(arguments)
        try:
            async with aclosing(answer(self._code(stub), True, request)) as answered:
                async for item in answered:
                    items.put([Payload(pickle.dumps(item))], lambda p: pickle.loads(p.pickle))
                    await items.drained()
            items.end()
        except Exception as exc:
            items.end(exc)

    def _code(self, stub: DeploymentStub) -> Code:
        code = self._apps[stub.id.app]

        async def call(request: Request) -> Any:
            result = code(request)
            return (
                await result if asyncio.isfuture(result) or inspect.iscoroutine(result) else result
            )

        return call

    async def settled(self) -> None:
        """Wait until every call has ended, cancelled ones included."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        reply: Reply,
        policy: CallPolicy | None = None,
    ) -> None:
        """The gateway makes no unary calls."""
        raise AssertionError("the gateway streams")

    def find(self, target: DeploymentID) -> DeploymentStub:
        """Of the mesh."""
        return self.mesh.find(target)

    def ingress_of(self, app: str) -> DeploymentStub:
        """Of the mesh."""
        return self.mesh.ingress_of(app)


def app_at(prefix: str, route_prefix: str | None = "") -> AppSpec:
    """An application named after its prefix."""
    stub = DeploymentStub(id=DeploymentID(prefix, "Ingress"), service="ingress")
    return AppSpec(
        name=prefix,
        ingress="Ingress",
        route_prefix=prefix if route_prefix == "" else route_prefix,
        stubs={"Ingress": stub},
    )


def client_of(mesh: InMemoryMesh) -> httpx.AsyncClient:
    """An HTTP client of a gateway before this mesh."""
    app = make_app(lambda: mesh.mesh, mesh)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=("10.0.0.9", 99)),
        base_url="http://gate:8000",
    )


async def ask(code: Code, method: str = "GET", path: str = "/", **given: Any) -> httpx.Response:
    """The answer to one request to an application at `/`."""
    mesh = InMemoryMesh({"/": code})
    async with client_of(mesh) as client:
        response = await client.request(method, path, **given)
    await mesh.settled()
    return response


def raising(error: Exception) -> Code:
    """Code that fails."""

    def fail(_: Request) -> NoReturn:
        raise error

    return fail


class RawClient:
    """The client's end of one ASGI request, message by message."""

    def __init__(self, mesh: InMemoryMesh, *body: bytes, path: str = "/") -> None:
        self.sent: list[Message] = []
        # Cleared, the client reads no further: `send` waits.
        self.reads = asyncio.Event()
        self.reads.set()
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        for at, chunk in enumerate(body):
            self.say({"type": "http.request", "body": chunk, "more_body": at + 1 < len(body)})
        self._app = make_app(lambda: mesh.mesh, mesh)
        self._scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [],
        }

    def say(self, message: Message) -> None:
        """Send the gateway a message."""
        self._inbox.put_nowait(message)

    def leave(self) -> None:
        """Close the connection."""
        self.say({"type": "http.disconnect"})

    async def run(self) -> None:
        """Make the request."""
        await self._app(self._scope, self._inbox.get, self._send)

    async def _send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        """What came of the body so far."""
        return b"".join(message.get("body", b"") for message in self.sent)


@asynccontextmanager
async def serving(mesh: InMemoryMesh) -> AsyncIterator[int]:
    """A real server on a free port; the port."""
    server = make_server(make_app(lambda: mesh.mesh, mesh))
    with bind("127.0.0.1", 0) as listener:
        task = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task
