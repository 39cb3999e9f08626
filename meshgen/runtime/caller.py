"""Carries out the calls that handles of this process make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from sys import modules
from typing import Any

from meshgen import raybridge
from meshgen.errors import MeshError, NotServingError
from meshgen.items import ItemBuffer
from meshgen.loopmail import LoopMail
from meshgen.objectref import ByValue, ObjectRef
from meshgen.passedstream import PassedStream
from meshgen.reply import Kept, Reply
from meshgen.runtime import codec, frames
from meshgen.runtime.callpartners import Dispatcher
from meshgen.runtime.calls import PendingCall
from meshgen.runtime.driverstore import driver_store, driver_stub
from meshgen.runtime.holds import Holds
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import Network
from meshgen.runtime.router import Router
from meshgen.runtime.streamcall import StreamCall
from meshgen.runtime.typedcall import (
    MessageItems,
    MessageReply,
    TypedStreamCall,
    TypedUnaryCall,
)
from meshgen.runtime.unarycall import UnaryCall
from meshgen.runtime.upstream import passable
from meshgen.serve.context import process, scoped_store
from meshgen.serve.response import DeploymentResponse
from meshgen.spec import MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import CallPolicy, DeploymentID, Payload, RequestContext, Store, Token

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
        # Told of each deployment that is called from here, once.
        self.on_edge: Callable[[DeploymentStub], None] = lambda _stub: None
        self._mesh = mesh
        self._network = network
        self._loop = asyncio.get_running_loop()
        self._mail = LoopMail(self._loop)
        # By the key of their stubs.
        self._routers: dict[str, Router] = {}
        self._closed = False
        self.holds = Holds(network, self._owner, self)
        # Where this process keeps values, if it has no replica for that.
        self._store: Store | None = None
        self._opening = asyncio.Lock()
        self._exits = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> MeshCaller:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """End every call and connection; calls made later fail."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.holds.close()
        await self._exits.aclose()
        await asyncio.gather(*(router.close() for router in self._routers.values()))

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: Arguments,
        context: RequestContext,
        reply: Reply,
        policy: CallPolicy | None = None,
    ) -> None:
        """Queue a unary call and return at once; `reply` gets the outcome."""
        call = UnaryCall(stub.id, method, context, self, reply)
        if policy is not None and stub.place is None:
            call.policy = policy
        reply.carrier = call
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

    def submit_typed(
        self,
        stub: DeploymentStub,
        method: str,
        message: bytes,
        context: RequestContext,
        reply: MessageReply,
        policy: CallPolicy | None = None,
    ) -> None:
        """Queue a typed unary call and return at once; `reply` gets the response's message."""
        call = TypedUnaryCall(stub.id, method, context, self, reply)
        call.policy = policy
        reply.carrier = call
        call.arguments = Payload(message)
        self._set_off(stub, call)

    def open_typed_stream(
        self,
        stub: DeploymentStub,
        method: str,
        message: bytes,
        context: RequestContext,
        items: MessageItems,
    ) -> None:
        """Start a typed streaming call and return at once; `items` gets the messages."""
        call = TypedStreamCall(stub.id, method, context, self, items)
        items.on_cancel = call.abandon
        call.arguments = Payload(message)
        self._set_off(stub, call)

    def _begin(self, stub: DeploymentStub, arguments: Arguments, call: PendingCall) -> None:
        """Pickle the arguments here and now; responses among them become references."""
        if raybridge.REAL_RAY in modules:
            arguments = raybridge.marked(arguments, self)
        has_responses = _has_response(arguments)
        if has_responses:
            arguments = _marked(arguments)
        call.arguments = codec.encode_arguments(arguments, has_responses=has_responses)
        for each in call.arguments.references:
            if isinstance(each.reply, PassedStream):
                each.reply.claim()
        self._set_off(stub, call)

    def _set_off(self, stub: DeploymentStub, call: PendingCall) -> None:
        if call.context.is_served:
            call.context.shared_calls().add(call)
        self.post(self._start, stub, call)

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop: at once if it is that which runs here.

        Raises:
            NotServingError: The mesh was shut down.
        """
        # Its thread alone does not say so: the loop may stand still between two runs.
        if asyncio._get_running_loop() is self._loop:
            function(*args)
            return
        try:
            self._mail.post(partial(function, *args))
        except RuntimeError as exc:
            raise NotServingError("the mesh of this handle was shut down") from exc

    def _start(self, stub: DeploymentStub, call: PendingCall) -> None:
        router = self._routers.get(stub.key) or self._router(stub)
        if call.is_over():
            return
        dispatcher: Dispatcher = router
        if stub.place is not None:
            dispatcher = router.pinned
            router.pinned.queue_up(call, stub.place)
        elif call.policy is not None:
            call.repeater = router
        if call.arguments.references:
            if call.context.deadline is not None:
                call.watch_deadline(self._loop, call.context.deadline)
            call.dispatcher = dispatcher
            call.set_out()
        else:
            dispatcher.submit(call)

    def _router(self, stub: DeploymentStub) -> Router:
        router = self._routers.get(stub.key)
        if router is None:
            resolver = self._network.resolver(stub)
            router = Router(stub, resolver, partial(self._network.connect, stub))
            if self._closed:
                router.refuse_all()
            self._routers[stub.key] = router
            self.on_edge(stub)
        return router

    def mesh(self) -> MeshSpec:
        """The applications of the mesh, as they are now."""
        return self._mesh.current()

    def borrow(self, token: Token) -> Kept:
        """A value that somebody else keeps."""
        return self.holds.borrow(token)

    def put(self, value: Any, reply: Reply) -> None:
        """Keep a value for others, too; `reply` ends with it."""
        payload = codec.encode(value)
        store = scoped_store.get() or process.store
        if payload.references or (store is None and frames.is_large(payload)):
            reply.carrier = _Putting(reply)
            self.post(self._spawn, partial(self._put, payload, store, reply), reply)
            return
        if store is not None and frames.is_large(payload):
            reply.kept = store.keep(payload)
        reply.resolve(payload, codec.decode)

    async def _put(self, payload: Payload, store: Store | None, reply: Reply) -> None:
        try:
            await passable(payload.references)
            if frames.is_large(payload):
                reply.kept = (store or await self._own_store()).keep(payload)
            reply.resolve(payload, codec.decode)
        except MeshError as exc:
            reply.fail(exc)

    def put_later(self, make: Callable[[], Coroutine[Any, Any, Any]], reply: Reply) -> None:
        """As `put`, of what the coroutine returns; `reply` fails with what it raises."""
        store = scoped_store.get() or process.store
        reply.carrier = _Putting(reply)
        self.post(self._spawn, partial(self._put_later, make, store, reply), reply)

    async def _put_later(
        self, make: Callable[[], Coroutine[Any, Any, Any]], store: Store | None, reply: Reply
    ) -> None:
        try:
            # It may be large, and was pickled by somebody else before.
            payload = await asyncio.to_thread(codec.encode, await make())
        except Exception as exc:  # user code: what makes the value, and pickling
            reply.fail(exc)
        else:
            await self._put(payload, store, reply)

    async def _own_store(self) -> Store:
        """Opened by the first value that is put here."""
        async with self._opening:
            if self._store is None:
                self._store = await self._exits.enter_async_context(
                    driver_store(self._network, self)
                )
        return self._store

    def _spawn(self, work: Callable[[], Coroutine[Any, Any, None]], reply: Reply) -> None:
        """Do what ends a reply."""
        if self._closed:
            reply.fail(NotServingError("the mesh was shut down"))
            return
        task = self._loop.create_task(work())
        self._tasks.add(task)
        task.add_done_callback(partial(self._settle, reply))

    def _settle(self, reply: Reply, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        # Said here: one that is cancelled before it has begun runs no line of its own.
        if task.cancelled():
            reply.fail(NotServingError("the mesh was shut down"))

    def _owner(self, owner: DeploymentID) -> DeploymentStub:
        """The stub of who keeps a value."""
        return driver_stub(owner) or self.find(owner)

    async def replica_ids(self, stub: DeploymentStub) -> list[str]:
        """The replicas that take calls now, in order; waits for the first."""
        return await self._router(stub).pinned.replica_ids()

    def find(self, target: DeploymentID) -> DeploymentStub:
        """The stub of a deployment by name."""
        return self._mesh.current().find(target)

    def ingress_of(self, app: str) -> DeploymentStub:
        """The stub of an application's ingress."""
        return self._mesh.current().ingress_of(app)


class _Putting:
    """A value on its way to the store."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def abandon(self) -> None:
        """It goes with its last reference."""

    def keep(self, ready: Callable[[], None]) -> None:
        """Calls back once it is there."""
        self._reply.add_done_callback(ready)


_RESPONSES = frozenset((DeploymentResponse, ObjectRef))


def _has_response(arguments: Arguments) -> bool:
    args, kwargs = arguments
    for value in args:
        if type(value) in _RESPONSES:
            return True
    return bool(kwargs) and any(type(value) in _RESPONSES for value in kwargs.values())


def _marked(arguments: Arguments) -> Arguments:
    """Arguments with a mark in the place of each response of which the value is meant."""
    args, kwargs = arguments
    return tuple(map(_mark, args)), {name: _mark(value) for name, value in kwargs.items()}


def _mark(argument: Any) -> Any:
    if isinstance(argument, DeploymentResponse):
        return ByValue(argument)
    return ByValue(argument.reply) if isinstance(argument, ObjectRef) else argument
