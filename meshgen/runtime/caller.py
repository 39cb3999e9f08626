"""Carries out the calls that handles of this process make."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from meshgen.errors import NotServingError
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.calls import PendingCall, StreamCall, UnaryCall
from meshgen.runtime.channel import Certificates
from meshgen.runtime.link import GrpcPeer
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.peer import Peer
from meshgen.runtime.resolver import make_resolver
from meshgen.runtime.router import Router
from meshgen.serve.response import DeploymentResponse
from meshgen.spec import MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import Call, DeploymentID, Payload, RequestContext

Arguments = tuple[Sequence[Any], Mapping[str, Any]]
Result = Reply | ItemBuffer
MakeCall = Callable[[Payload, Router], PendingCall]


class MeshCaller:
    """A `Caller`: one router for each deployment that is called. Lives on one event loop.

    Handles may use it from any thread; what they ask for is done on its loop.
    """

    def __init__(
        self,
        mesh: MeshFile,
        resolver: str,
        *,
        name: str = "driver",
        certificates: Certificates | None = None,
    ) -> None:
        self._mesh = mesh
        self._resolver = resolver
        self._name = name
        self._certificates = certificates
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._routers: dict[DeploymentID, Router] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def __aenter__(self) -> MeshCaller:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End every call and connection; calls made later fail."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(router.close() for router in self._routers.values()))

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: Arguments,
        context: RequestContext,
        reply: Reply,
    ) -> None:
        """Queue a unary call and return at once; `reply` gets the outcome."""
        self._begin(
            stub,
            arguments,
            reply,
            lambda payload, router: UnaryCall(
                str(stub.id), Call(method, payload, context), router, reply
            ),
        )

    def open_stream(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: Arguments,
        context: RequestContext,
        items: ItemBuffer,
    ) -> None:
        """Start a generator call and return at once; `items` gets what it yields."""
        self._begin(
            stub,
            arguments,
            items,
            lambda payload, router: StreamCall(
                str(stub.id), Call(method, payload, context), router, items
            ),
        )

    def _begin(
        self, stub: DeploymentStub, arguments: Arguments, result: Result, make: MakeCall
    ) -> None:
        """Pickle the arguments here and now, or as soon as the responses among them are there."""
        args, kwargs = arguments
        if any(isinstance(value, DeploymentResponse) for value in (*args, *kwargs.values())):
            self.post(self._start_when_resolved, stub, arguments, result, make)
        else:
            self.post(self._start, stub, codec.encode((args, kwargs)), result, make)

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop: at once if this is its thread.

        Raises:
            NotServingError: The mesh was shut down.
        """
        if threading.get_ident() == self._thread:
            function(*args)
            return
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError as exc:
            raise NotServingError("the mesh of this handle was shut down") from exc

    def _start(
        self, stub: DeploymentStub, payload: Payload, result: Result, make: MakeCall
    ) -> None:
        router = self._router(stub)
        call = make(payload, router)
        result.on_cancel = partial(self.post, call.cancel)
        if not call.is_over():
            router.submit(call)

    def _start_when_resolved(
        self, stub: DeploymentStub, arguments: Arguments, result: Result, make: MakeCall
    ) -> None:
        task = self._loop.create_task(self._resolve(stub, arguments, result, make))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        result.on_cancel = partial(self.post, task.cancel)

    async def _resolve(
        self, stub: DeploymentStub, arguments: Arguments, result: Result, make: MakeCall
    ) -> None:
        """Put values in place of the responses among the arguments, all waited for at once."""
        args, kwargs = arguments
        try:
            values = await asyncio.gather(*(_value(v) for v in (*args, *kwargs.values())))
            named = dict(zip(kwargs, values[len(args) :], strict=True))
            payload = codec.encode((tuple(values[: len(args)]), named))
        except BaseException as exc:
            _fail(result, exc)
            if isinstance(exc, asyncio.CancelledError):
                raise
            return
        self._start(stub, payload, result, make)

    def _router(self, stub: DeploymentStub) -> Router:
        router = self._routers.get(stub.id)
        if router is None:
            resolver = make_resolver(self._resolver, stub)
            router = Router(stub, resolver, partial(self._connect, stub))
            if self._closed:
                router.refuse_all()
            self._routers[stub.id] = router
        return router

    def _connect(
        self, stub: DeploymentStub, address: str, on_change: Callable[[Peer], None]
    ) -> Peer:
        return GrpcPeer(
            address, on_change, stub=stub, caller=self._name, certificates=self._certificates
        )

    def mesh(self) -> MeshSpec:
        """The applications of the mesh, as they are now."""
        return self._mesh.current()

    def find(self, target: DeploymentID) -> DeploymentStub:
        """The stub of a deployment by name."""
        return self._mesh.search(lambda mesh: mesh.find(target))

    def ingress_of(self, app: str) -> DeploymentStub:
        """The stub of an application's ingress."""
        return self._mesh.search(lambda mesh: mesh.ingress_of(app))


async def _value(argument: Any) -> Any:
    # Shielded: one response may be an argument of many calls, and one that is cancelled is one.
    if isinstance(argument, DeploymentResponse):
        return await asyncio.shield(argument)
    return argument


def _fail(result: Result, error: BaseException) -> None:
    if isinstance(result, ItemBuffer):
        result.end(error)
    else:
        result.fail(error)
