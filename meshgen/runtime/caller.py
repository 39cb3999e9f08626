"""Carries out the calls that handles of this process make."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from meshgen.errors import NotServingError
from meshgen.items import ItemBuffer
from meshgen.loopmail import LoopMail
from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.calls import PendingCall, StreamCall, UnaryCall
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import Network
from meshgen.runtime.router import Router
from meshgen.serve.response import DeploymentResponse
from meshgen.spec import MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID, RequestContext

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


class MeshCaller:
    """A `Caller`: one router for each deployment that is called. Lives on one event loop.

    Handles may use it from any thread; what they ask for is done on its loop.
    """

    def __init__(
        self,
        mesh: MeshFile,
        network: Network,
    ) -> None:
        self._mesh = mesh
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._mail = LoopMail(self._loop)
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
        call = UnaryCall(stub.id, method, context, self, reply)
        reply.on_cancel = call.abandon
        self._begin(stub, arguments, call)

    def open_stream(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: Arguments,
        context: RequestContext,
        items: ItemBuffer,
    ) -> None:
        """Start a generator call and return at once; `items` gets what it yields."""
        call = StreamCall(stub.id, method, context, self, items)
        items.on_cancel = call.abandon
        self._begin(stub, arguments, call)

    def _begin(self, stub: DeploymentStub, arguments: Arguments, call: PendingCall) -> None:
        """Pickle the arguments here and now, or as soon as the responses among them are there."""
        if _has_response(arguments):
            self.post(self._start_when_resolved, stub, arguments, call)
            return
        call.arguments = codec.encode_arguments(arguments)
        if threading.get_ident() == self._thread:
            self._start(stub, call)
        else:
            self.post(self._start, stub, call)

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop: at once if this is its thread.

        Raises:
            NotServingError: The mesh was shut down.
        """
        if threading.get_ident() == self._thread:
            function(*args)
            return
        try:
            self._mail.post(partial(function, *args))
        except RuntimeError as exc:
            raise NotServingError("the mesh of this handle was shut down") from exc

    def _start(self, stub: DeploymentStub, call: PendingCall) -> None:
        router = self._routers.get(stub.id) or self._router(stub)
        if not call.is_over():
            router.submit(call)

    def _start_when_resolved(
        self, stub: DeploymentStub, arguments: Arguments, call: PendingCall
    ) -> None:
        if call.context.deadline is not None:
            call.watch_deadline(self._loop, call.context.deadline)
        task = self._loop.create_task(self._resolve(stub, arguments, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, stub: DeploymentStub, arguments: Arguments, call: PendingCall) -> None:
        """Put values in place of the responses among the arguments, all waited for at once."""
        args, kwargs = arguments
        try:
            values = await asyncio.gather(*(_value(v) for v in (*args, *kwargs.values())))
            named = dict(zip(kwargs, values[len(args) :], strict=True))
            call.arguments = codec.encode_arguments((tuple(values[: len(args)]), named))
        except asyncio.CancelledError:
            call.fail(NotServingError(f"the mesh that {call.target} belongs to was shut down"))
            raise
        except BaseException as exc:  # user code: whatever the awaited calls raised
            call.fail(exc)
            return
        self._start(stub, call)

    def _router(self, stub: DeploymentStub) -> Router:
        router = self._routers.get(stub.id)
        if router is None:
            resolver = self._network.resolver(stub)
            router = Router(stub, resolver, partial(self._network.connect, stub))
            if self._closed:
                router.refuse_all()
            self._routers[stub.id] = router
        return router

    def mesh(self) -> MeshSpec:
        """The applications of the mesh, as they are now."""
        return self._mesh.current()

    def find(self, target: DeploymentID) -> DeploymentStub:
        """The stub of a deployment by name."""
        return self._mesh.current().find(target)

    def ingress_of(self, app: str) -> DeploymentStub:
        """The stub of an application's ingress."""
        return self._mesh.current().ingress_of(app)


def _has_response(arguments: Arguments) -> bool:
    args, kwargs = arguments
    for value in args:
        if isinstance(value, DeploymentResponse):
            return True
    return bool(kwargs) and any(isinstance(v, DeploymentResponse) for v in kwargs.values())


async def _value(argument: Any) -> Any:
    # Shielded: one response may be an argument of many calls, and one that is cancelled is one.
    if isinstance(argument, DeploymentResponse):
        return await asyncio.shield(argument)
    return argument
