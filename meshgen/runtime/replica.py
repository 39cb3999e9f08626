"""One replica: which calls it takes, what becomes of them, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

from meshgen.arguments import unpack
from meshgen.errors import ObjectLostError, SerializationError
from meshgen.objectref import Passed
from meshgen.runtime import codec, frames
from meshgen.runtime.arrivedstream import end_streams
from meshgen.runtime.bulk import PayloadStore
from meshgen.runtime.heldvalue import HeldValue
from meshgen.runtime.holds import Holds
from meshgen.runtime.host_id import this_host
from meshgen.runtime.httpmessage import HTTP_METHOD
from meshgen.runtime.instance import Instance
from meshgen.runtime.madecalls import end_calls, end_stream
from meshgen.runtime.occupancy import Occupancy
from meshgen.runtime.openstreams import OpenStreams
from meshgen.runtime.store import ReplicaStore
from meshgen.runtime.values import ValueStore
from meshgen.serve.context import (
    ReplicaContext,
    current_replica,
    current_request,
    scoped_caller,
    scoped_store,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import ServiceSpec
from meshgen.stub import DeploymentStub
from meshgen.types import Caller, DeploymentID, Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.typedmethods import TypedMethods

logger = logging.getLogger("meshgen")


class Home(Caller, Protocol):
    """Carries out the calls of a replica's process, and brings the values that they refer to."""

    holds: Holds


class Replica:
    """Takes calls for one constructed deployment, at most `max_ongoing_requests` at a time."""

    def __init__(
        self,
        spec: ServiceSpec,
        caller: Home,
        replica_id: str,
        values: ValueStore | None = None,
    ) -> None:
        self.spec = spec
        self.stub = spec.stub
        self.replica_id = replica_id
        # Large payloads: arguments that were uploaded, and results until they are fetched.
        self.uploads = PayloadStore()
        self.results = PayloadStore()
        # What others may still ask for: results that were passed on, and large ones.
        self.values = values or ValueStore(self.origin)
        self.store = ReplicaStore(self.stub.id, self.values)
        # How long one that leaves waits for questions about values when it has nothing else to do.
        self.last_questions = 0.5
        self.occupancy = Occupancy(spec.options.max_ongoing_requests, lambda: len(self.results) > 0)
        self.streams = OpenStreams(self.occupancy.release)
        self._caller = caller
        self._phase = pb.REPLICA_PHASE_STARTING
        self._watchers: set[Callable[[pb.State], None]] = set()
        self._instance: Instance | None = None
        self._target: Callable[..., Any] | None = None
        # Where a build keeps the numbers of the typed RPCs' messages.
        self.lock_file: Path | None = None
        self._context = ReplicaContext(
            app_name=spec.stub.id.app, deployment=spec.stub.id.name, replica_tag=replica_id
        )

    @property
    def origin(self) -> str:
        """How this replica is named in errors and logs."""
        return f"{self.stub.id}#{self.replica_id}"

    @property
    def state(self) -> pb.State:
        """What callers are told of this replica."""
        return pb.State(
            phase=self._phase,
            replica_id=self.replica_id,
            max_ongoing_requests=self.spec.options.max_ongoing_requests,
            host=this_host(),
        )

    async def start(self, find: Callable[[DeploymentID], DeploymentStub]) -> None:
        """Construct the user's object; from then on calls are taken.

        Raises:
            Exception: Whatever the user's constructor raises.
        """
        self.enter_context()

        def handle_of(name: str) -> DeploymentHandle:
            return DeploymentHandle(find(DeploymentID(self.stub.id.app, name)), caller=self._caller)

        self._target = target = self.spec.target.load()
        args, kwargs = unpack(self.spec.arguments, handle_of)
        self._instance = await Instance.construct(self.spec, target, args, kwargs)
        self._instance.threads.on_abandoned = self.occupancy.hold_for
        self._context = replace(self._context, servable_object=self._instance.target)
        self._set_phase(pb.REPLICA_PHASE_SERVING)

    async def check_health(self) -> None:
        """Ask the user's object, if it can tell.

        Raises:
            BaseException: Whatever its `check_health` raises.
        """
        self.enter_context()
        assert self._instance is not None
        await self._instance.check_health()

    async def reconfigure(self, user_config: Any) -> None:
        """Hand a new configuration to the user's object, while it serves.

        Raises:
            OptionError: Its class has no `reconfigure`.
            BaseException: Whatever that raises.
        """
        self.enter_context()
        assert self._instance is not None
        await self._instance.reconfigure(user_config)

    def enter_context(self) -> None:
        """Make the code that runs from here on, and the tasks it starts, code of this replica."""
        scoped_caller.set(self._caller)
        scoped_store.set(self.store)
        current_replica.set(self._context)

    @property
    def context(self) -> ReplicaContext:
        """What user code is told of where it runs."""
        return self._context

    def watch(self, watcher: Callable[[pb.State], None]) -> None:
        """Tell `watcher` the state now and at every change, until `unwatch`."""
        self._watchers.add(watcher)
        watcher(self.state)

    def unwatch(self, watcher: Callable[[pb.State], None]) -> None:
        """Stop telling it."""
        self._watchers.discard(watcher)

    def _set_phase(self, phase: pb.ReplicaPhase) -> None:
        self._phase = phase
        if phase == pb.REPLICA_PHASE_SERVING:
            self.occupancy.open = True
        else:
            self.occupancy.close()
        for watcher in list(self._watchers):
            watcher(self.state)

    async def bring(self, invocation: pb.Invocation) -> Sequence[Passed]:
        """What a call's arguments refer to; values that are meant themselves are here then.

        Raises:
            UpstreamError: The call that should have made one of them failed.
            ObjectLostError: One is lost.
        """
        try:
            return await self._caller.holds.bring(invocation.arguments.references)
        except ObjectLostError as exc:
            raise ObjectLostError(f"{self.stub.id} was not called: {exc}") from exc

    def read(self, message: pb.Payload) -> Payload:
        """An inline payload that arrived."""
        return self._caller.holds.read(message)

    async def hold(self, lent: Iterable[ref[HeldValue]]) -> None:
        """Keep what a call has left behind of the values that came as its references."""
        await self._caller.holds.hold(lent)

    async def call(self, invocation: pb.Invocation, references: Sequence[Passed] = ()) -> Payload:
        """Run a unary call that has a slot; its result pickled.

        Raises:
            BaseException: Whatever the user's method raises.
        """
        if invocation.typed:
            request = frames.read_context(invocation.context, self.stub.id.app)
            message = self._payload(invocation.arguments).pickle
            return Payload(await self.typed.call(invocation.method, message, request))
        request, name, args, kwargs = self._open(invocation, references)
        assert self._instance is not None
        method = self._instance.async_method(name)
        try:
            if method is None:
                return codec.encode(await self._instance.call(name, args, kwargs))
            # The common case, without the layers that the others need.
            return codec.encode(self._instance.unary(name, await method(*args, **kwargs)))
        finally:
            if request.calls:
                end_calls(request.calls)

    async def stream(
        self, invocation: pb.Invocation, references: Sequence[Passed] = ()
    ) -> AsyncIterator[Payload]:
        """Run a streaming call that has a slot; its items pickled one by one.

        Raises:
            BaseException: Whatever the user's generator raises.
        """
        if invocation.typed:
            async with aclosing(self._stream_messages(invocation)) as messages:
                async for each in messages:
                    yield each
            return
        request, method, args, kwargs = self._open(invocation, references)
        assert self._instance is not None
        items: AsyncIterator[Any] | None = None
        try:
            if method == HTTP_METHOD:
                items = self._answer_http(args[0])
            else:
                items = await self._instance.iterate(method, args, kwargs)
            async for item in items:
                payload = codec.encode(item)
                if payload.references:
                    raise SerializationError(
                        f"{self.stub.id}.{method} yielded something with a response in it: "
                        "await it and yield the value"
                    )
                yield payload
        finally:
            try:
                await end_stream(items, request)
            finally:
                if references:
                    end_streams(references)

    async def _answer_http(self, request: Any) -> AsyncIterator[Any]:
        # Only an ingress that HTTP reaches pays for importing Starlette.
        from meshgen.runtime.http import answer

        assert self._instance is not None
        instance = self._instance
        stub = self.stub.method("__call__")
        takes_request = stub.parameters is None or len(stub.parameters) > 0

        async def call(*args: Any) -> Any:
            return await instance.run("__call__", args, {})

        try:
            async with aclosing(answer(call, takes_request, request)) as parts:
                async for part in parts:
                    yield part
        except Exception as exc:
            # The client is told nothing of it but the request's id.
            context, text = current_request.get(), codec.format_user_traceback(exc)
            logger.error("request %s failed:\n%s", context and context.request_id, text)
            raise

    def _open(
        self, invocation: pb.Invocation, references: Sequence[Passed]
    ) -> tuple[RequestContext, str, Any, Any]:
        """Enter the request's context and unpickle its arguments."""
        request = frames.read_context(invocation.context, self.stub.id.app)
        current_request.set(request)
        payload = self._payload(invocation.arguments)
        if references:
            payload.references = references
        args, kwargs = codec.decode(payload)
        return request, invocation.method, args, kwargs

    def _payload(self, message: pb.Payload) -> Payload:
        """Arguments that came inline, or were uploaded before."""
        if message.payload_id:
            return self.uploads.take(message.payload_id)
        return frames.read_payload(message)

    @cached_property
    def typed(self) -> TypedMethods:
        """The typed RPCs; read from the hints by the first call of one."""
        from meshgen.runtime.typedmethods import open_typed

        assert self._instance is not None and self._target is not None
        return open_typed(self.spec, self._target, self._instance, self.lock_file)

    async def _stream_messages(self, invocation: pb.Invocation) -> AsyncGenerator[Payload, None]:
        request = frames.read_context(invocation.context, self.stub.id.app)
        message = self._payload(invocation.arguments).pickle
        async with aclosing(self.typed.stream(invocation.method, message, request)) as items:
            async for item in items:
                yield Payload(item)

    def outgoing(self, payload: Payload) -> pb.Payload:
        """A result as it travels by itself: inline, or kept here under an id to fetch it by."""
        if frames.is_large(payload):
            return pb.Payload(payload_id=self.results.park(payload))
        return frames.payload_message(payload)

    def keeps_any(self, parked: Sequence[str]) -> bool:
        """Whether results or streams of these ids wait here for their caller."""
        return any(each in self.results or each in self.streams for each in parked)

    def drop(self, parked: Sequence[str]) -> None:
        """Nobody will come for results or streams of these ids."""
        for each in parked:
            self.results.drop(each)
            self.streams.drop(each)
        self.occupancy.note()

    @asynccontextmanager
    async def handing_out(self, payload_id: str) -> AsyncIterator[Payload]:
        """Give a large payload away; this replica does not leave before that is done.

        Raises:
            ProtocolError: There is none of that id.
            ObjectLostError: It is gone since.
        """
        self.occupancy.hand_out(1)
        try:
            if payload_id in self.values:
                yield await self.values.get(payload_id)
            else:
                yield self.results.take(payload_id)
        finally:
            self.occupancy.hand_out(-1)

    def failure(self, error: BaseException) -> pb.Failure:
        """What the caller is told of an error of one of its calls."""
        return codec.encode_failure(error, self.origin)

    async def drain(self) -> None:
        """Take no more calls, finish those that run and hand out what they left.

        All within `graceful_shutdown_timeout_s`.
        """
        self.values.keep_all()
        self._set_phase(pb.REPLICA_PHASE_DRAINING)
        timeout = self.spec.options.graceful_shutdown_timeout_s
        try:
            async with asyncio.timeout(timeout):
                await self.occupancy.until_idle()
                if len(self.values):
                    # Calls that were told of them may be on their way to who will ask.
                    await asyncio.sleep(self.last_questions)
                    await self.occupancy.until_idle()
        except TimeoutError:
            logger.warning(
                "%s: %d calls and %d values that others need were left after %s s",
                *(self.origin, self.occupancy.ongoing, self.occupancy.wanted, timeout),
            )

    async def close(self) -> None:
        """Let the user's object go: its `__del__` runs once, now."""
        await self.streams.close()
        self.values.close()
        if self._instance is not None:
            try:
                await self._instance.finalize()
            except Exception:
                logger.exception("%s: __del__ failed", self.origin)
            self._instance.close()
