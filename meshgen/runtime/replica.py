"""One replica: which calls it takes, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol
from weakref import ref

from meshgen.arguments import unpack
from meshgen.errors import ObjectLostError
from meshgen.objectref import Passed
from meshgen.runtime import codec, frames
from meshgen.runtime.bulk import PayloadStore
from meshgen.runtime.heldvalue import HeldValue
from meshgen.runtime.holds import Holds
from meshgen.runtime.host_id import this_host
from meshgen.runtime.instance import Instance
from meshgen.runtime.occupancy import Occupancy
from meshgen.runtime.openstreams import OpenStreams
from meshgen.runtime.store import ReplicaStore
from meshgen.runtime.usercode import UserCode
from meshgen.runtime.values import ValueStore
from meshgen.serve.context import (
    ReplicaContext,
    current_replica,
    scoped_caller,
    scoped_store,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import ServiceSpec
from meshgen.stub import DeploymentStub
from meshgen.types import Caller, DeploymentID, Payload
from meshgen.v1 import mesh_pb2 as pb

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
        # Set when the user's object is there.
        self.code: UserCode
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

        target = self.spec.target.load()
        args, kwargs = unpack(self.spec.arguments, handle_of)
        self._instance = instance = await Instance.construct(self.spec, target, args, kwargs)
        instance.threads.on_abandoned = self.occupancy.hold_for
        self.code = UserCode(self.spec, instance, target, self.uploads, self.lock_file)
        self._context = replace(self._context, servable_object=instance.target)
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
