"""One replica: which calls it takes, what becomes of them, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

from meshgen.arguments import unpack
from meshgen.runtime import codec, frames
from meshgen.runtime.bulk import PayloadStore
from meshgen.runtime.httpmessage import HTTP_METHOD
from meshgen.runtime.instance import Instance
from meshgen.runtime.openstreams import OpenStreams
from meshgen.serve.context import ReplicaContext, current_replica, current_request, scoped_caller
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import ServiceSpec
from meshgen.stub import DeploymentStub
from meshgen.types import Caller, DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb

logger = logging.getLogger("meshgen")


class Replica:
    """Takes calls for one constructed deployment, at most `max_ongoing_requests` at a time."""

    def __init__(self, spec: ServiceSpec, caller: Caller, replica_id: str) -> None:
        self.spec = spec
        self.stub = spec.stub
        self.replica_id = replica_id
        # Large payloads: arguments that were uploaded, and results until they are fetched.
        self.uploads = PayloadStore()
        self.results = PayloadStore()
        self.streams = OpenStreams(self.release)
        self._caller = caller
        self._phase = pb.REPLICA_PHASE_STARTING
        self._ongoing = 0
        # Large results that are on their way.
        self._handing_out = 0
        self._idle: asyncio.Event = asyncio.Event()
        self._idle.set()
        self._watchers: set[Callable[[pb.State], None]] = set()
        self._instance: Instance | None = None
        self._context = ReplicaContext(
            app_name=spec.stub.id.app, deployment=spec.stub.id.name, replica_tag=replica_id
        )

    @property
    def origin(self) -> str:
        """How this replica is named in errors and logs."""
        return f"{self.stub.id}#{self.replica_id}"

    @property
    def ongoing(self) -> int:
        """Calls that run now."""
        return self._ongoing

    @property
    def state(self) -> pb.State:
        """What callers are told of this replica."""
        return pb.State(
            phase=self._phase,
            replica_id=self.replica_id,
            max_ongoing_requests=self.spec.options.max_ongoing_requests,
        )

    async def start(self, find: Callable[[DeploymentID], DeploymentStub]) -> None:
        """Construct the user's object; from then on calls are taken.

        Raises:
            Exception: Whatever the user's constructor raises.
        """
        self.enter_context()
        loop = asyncio.get_running_loop()

        def handle_of(name: str) -> DeploymentHandle:
            return DeploymentHandle(find(DeploymentID(self.stub.id.app, name)), caller=self._caller)

        target = self.spec.target.load()
        args, kwargs = unpack(self.spec.arguments, handle_of)
        self._instance = await Instance.construct(self.spec, target, args, kwargs)
        self._instance.threads.on_abandoned = partial(self._hold_slot, loop)
        self._context = replace(self._context, servable_object=self._instance.target)
        self._set_phase(pb.REPLICA_PHASE_SERVING)

    def enter_context(self) -> None:
        """Make the code that runs from here on, and the tasks it starts, code of this replica."""
        scoped_caller.set(self._caller)
        current_replica.set(self._context)

    def _hold_slot(self, loop: asyncio.AbstractEventLoop, thread: Future[Any]) -> None:
        """A cancelled call's thread cannot be stopped: its slot is taken until it ends."""
        self._ongoing += 1
        self._idle.clear()

        def release(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop was closed in the meantime
                loop.call_soon_threadsafe(self.release)

        thread.add_done_callback(release)

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
        for watcher in list(self._watchers):
            watcher(self.state)

    def admit(self) -> bool:
        """Take a slot for a call, if one is free and this replica is not leaving."""
        if self._phase != pb.REPLICA_PHASE_SERVING:
            return False
        if self._ongoing >= self.spec.options.max_ongoing_requests:
            return False
        self._ongoing += 1
        self._idle.clear()
        return True

    def release(self) -> None:
        """Give a slot back."""
        self._ongoing -= 1
        if self._ongoing == 0:
            self._note_if_idle()

    def _note_if_idle(self) -> None:
        if not (self._ongoing or self._handing_out or len(self.results)):
            self._idle.set()

    async def call(self, invocation: pb.Invocation) -> Payload:
        """Run a unary call that has a slot; its result pickled.

        Raises:
            BaseException: Whatever the user's method raises.
        """
        name, args, kwargs = self._open(invocation)
        assert self._instance is not None
        method = self._instance.async_method(name)
        if method is None:
            return codec.encode(await self._instance.call(name, args, kwargs))
        # The common case, without the layers that the others need.
        return codec.encode(self._instance.unary(name, await method(*args, **kwargs)))

    async def stream(self, invocation: pb.Invocation) -> AsyncIterator[Payload]:
        """Run a streaming call that has a slot; its items pickled one by one.

        Raises:
            BaseException: Whatever the user's generator raises.
        """
        method, args, kwargs = self._open(invocation)
        assert self._instance is not None
        if method == HTTP_METHOD:
            items = self._answer_http(args[0])
        else:
            items = await self._instance.iterate(method, args, kwargs)
        try:
            async for item in items:
                yield codec.encode(item)
        finally:
            close = getattr(items, "aclose", None)
            if close is not None:
                await close()

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

    def _open(self, invocation: pb.Invocation) -> tuple[str, Any, Any]:
        """Enter the request's context and unpickle its arguments."""
        current_request.set(frames.read_context(invocation.context, self.stub.id.app))
        message = invocation.arguments
        if message.payload_id:
            payload = self.uploads.take(message.payload_id)
        else:
            payload = frames.read_payload(message)
        args, kwargs = codec.decode(payload)
        return invocation.method, args, kwargs

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
        self._note_if_idle()

    @contextmanager
    def handing_out(self, payload_id: str) -> Iterator[Payload]:
        """Give a large result away; this replica does not leave before that is done.

        Raises:
            ProtocolError: There is none of that id.
        """
        payload = self.results.take(payload_id)
        self._handing_out += 1
        try:
            yield payload
        finally:
            self._handing_out -= 1
            self._note_if_idle()

    def failure(self, error: BaseException) -> pb.Failure:
        """What the caller is told of an error of one of its calls."""
        return codec.encode_failure(error, self.origin)

    async def drain(self) -> None:
        """Take no more calls, finish those that run and hand out what they left.

        All within `graceful_shutdown_timeout_s`.
        """
        self._set_phase(pb.REPLICA_PHASE_DRAINING)
        timeout = self.spec.options.graceful_shutdown_timeout_s
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            logger.warning(
                "%s: %d calls did not end within %s s", self.origin, self._ongoing, timeout
            )

    async def close(self) -> None:
        """Let the user's object go: its `__del__` runs once, now."""
        await self.streams.close()
        if self._instance is not None:
            try:
                await self._instance.finalize()
            except Exception:
                logger.exception("%s: __del__ failed", self.origin)
            self._instance.close()
