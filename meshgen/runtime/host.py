"""One caller's link at a replica: its calls become tasks, their outcomes frames."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, cast

from meshgen.errors import PermissionDeniedError
from meshgen.objectref import Passed
from meshgen.runtime.arrivedstream import end_streams
from meshgen.runtime.frames import is_large
from meshgen.runtime.heldvalue import Lease, leases, lent
from meshgen.runtime.linkvalues import LinkValues
from meshgen.runtime.pump import ItemPump
from meshgen.runtime.replica import Replica
from meshgen.runtime.replicasession import ReplicaSession
from meshgen.runtime.skew import check_methods
from meshgen.runtime.upstream import passable
from meshgen.runtime.values import UpstreamError
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb

# The first results of a message are on their way back while its last arguments are read: at a
# hundred callers both sides work at once (1.5 times the calls/s of slices of 128). Each message
# more costs both sides about ten calls, so that smaller slices are slower again.
_SLICE = 48


class LinkHost:
    """The replica's side of one link, whatever carries its messages. Owns the calls' tasks."""

    def __init__(self, replica: Replica) -> None:
        self.session = ReplicaSession(replica.stub.id, self)
        self._replica = replica
        self._tasks: dict[int, asyncio.Task[None]] = {}
        # Ids of what this caller was told to come for, by call.
        self._parked: dict[int, Sequence[str]] = {}
        # Calls that wait for their values or a slot.
        self._early: set[int] = set()
        # What results refer to, until the caller holds it itself; by call.
        self._handed: dict[int, tuple[Sequence[Passed], Sequence[Lease]]] = {}
        self._values = LinkValues(replica, self.session, self._tasks, self._early)
        self.session.values = self._values
        self._caller_is_gone = False
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> LinkHost:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """The caller is gone: nobody waits for what still runs."""
        self._caller_is_gone = True
        self._replica.unwatch(self._announce)
        self._replica.occupancy.forget(self._tell_of_room)
        tasks = list(self._tasks.values())
        for call_id in list(self._tasks):
            self.left(call_id)
        for parked in self._parked.values():
            self._replica.drop(parked)
        self._handed.clear()
        await self._values.close()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def receive(self, frames: Sequence[pb.Frame]) -> None:
        """Take in a message, in slices that let go of the loop in between."""
        if len(frames) <= _SLICE:  # a slice of it would be a copy
            self.session.receive(frames)
        else:
            for start in range(0, len(frames), _SLICE):
                if start:
                    await asyncio.sleep(0)
                self.session.receive(frames[start : start + _SLICE])

    def greeted(self, hello: pb.Hello) -> None:
        """Tell a caller that fits the replica's state: from then on it may call.

        Raises:
            ProtocolError: It knows other methods than there are.
        """
        check_methods(hello, self._replica.stub, self._replica.origin)
        self._replica.watch(self._announce)

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """Start a call, or send it away."""
        arguments = invocation.arguments
        if arguments.has_more and arguments.references:
            self._early.add(call_id)
            self._tasks[call_id] = self._loop.create_task(self._prepare(call_id, invocation))
        elif self._replica.occupancy.admit():
            run = self._run_stream if invocation.stream else self._run
            self._tasks[call_id] = self._loop.create_task(run(call_id, invocation))
        else:
            self._refuse(call_id, invocation)

    def _refuse(self, call_id: int, invocation: pb.Invocation) -> None:
        self._replica.uploads.drop(invocation.arguments.payload_id)
        self._replica.occupancy.send_away(self._tell_of_room)
        self._send_away(call_id)

    def _send_away(self, call_id: int) -> None:
        self._values.refused(call_id)
        self.session.refuse(call_id)

    async def _prepare(self, call_id: int, invocation: pb.Invocation) -> None:
        """Get the values that a call needs, then a slot; then run it."""
        if invocation.arguments.payload_id in self._replica.uploads:
            # However long that takes.
            self._replica.uploads.keep(invocation.arguments.payload_id)
        try:
            references = await self._replica.bring(invocation)
            has_slot = await self._replica.occupancy.slot()
        except BaseException as exc:
            self._replica.uploads.drop(invocation.arguments.payload_id)
            self._answer_early(call_id, exc)
            return
        self._early.discard(call_id)
        if not has_slot:
            del self._tasks[call_id]
            self._refuse(call_id, invocation)
        else:
            self._values.started(call_id)
            run = self._run_stream if invocation.stream else self._run
            running = run(call_id, invocation, references)
            # Only the call's own code keeps them from here on: what it lets go of is let go.
            del references
            await running

    def _answer_early(self, call_id: int, error: BaseException) -> None:
        """Tell of a call that did not start, unless it was sent away."""
        if call_id in self._early:
            self._early.discard(call_id)
            del self._tasks[call_id]
            self._fail(call_id, error)

    def _tell_of_room(self) -> None:
        """There is a slot for who was sent away: the message says how many calls run."""
        self.session.announce(self._replica.state)

    def _announce(self, state: pb.State) -> None:
        self.session.announce(state)
        if state.phase == pb.REPLICA_PHASE_DRAINING:
            for call_id in list(self._early):
                self._early.discard(call_id)
                self._tasks.pop(call_id).cancel()
                self._send_away(call_id)

    def left(self, call_id: int) -> None:
        """Cancel a call; its slot is free when its code has ended."""
        task = self._tasks.get(call_id)
        if task is None:
            self._replica.drop(self._parked.pop(call_id, ()))
            self._handed.pop(call_id, None)
            self._values.left(call_id)
            return
        if task.cancelling():  # once: a second time would interrupt its clean-up
            return
        # A task that is cancelled before its first step never runs, its `finally` included.
        coroutine = cast(Coroutine[Any, Any, None], task.get_coro())
        unstarted = inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED
        task.cancel()
        if unstarted:  # nobody has taken its arguments
            invocation = inspect.getcoroutinelocals(coroutine)["invocation"]
            self._replica.uploads.drop(invocation.arguments.payload_id)
        if unstarted and call_id in self._early:
            self._answer_early(call_id, asyncio.CancelledError())
        elif unstarted:
            self._end(call_id, asyncio.CancelledError())

    async def _run(
        self, call_id: int, invocation: pb.Invocation, references: Sequence[Passed] = ()
    ) -> None:
        outcome: Payload | BaseException
        borrowed = lent(references) if references else ()
        try:
            outcome = await self._replica.code.call(invocation, references)
            if outcome.references:
                await passable(outcome.references)
        except BaseException as exc:  # user code: SystemExit too is an error to its caller
            outcome = exc
        if references:
            end_streams(references)
            del references
        if borrowed:
            try:
                await self._replica.hold(borrowed)
            except asyncio.CancelledError as exc:
                outcome = exc
        if self._tasks[call_id].cancelling() and not isinstance(outcome, BaseException):
            # The user's code went on all the same: nobody comes for what it left.
            outcome = asyncio.CancelledError()
        self._end(call_id, outcome)
        # An error's traceback holds this frame, and every stream that the user's frames consumed:
        # those would stop no sooner than the garbage collector finds the circle.
        del outcome

    def _end(self, call_id: int, outcome: Payload | BaseException) -> None:
        """Answer a unary call, or any call with an error, and give its slot back."""
        if isinstance(outcome, BaseException):
            self._fail(call_id, outcome, has_run=True)
        elif is_large(outcome):
            self._values.leave(call_id, outcome)
        elif outcome.references:
            self._handed[call_id] = (outcome.references, leases(outcome.references))
            self._values.respond(call_id, outcome)
        elif self._values.retained_calls:
            self._values.respond(call_id, outcome)
        else:
            self.session.respond(call_id, outcome)
        self._replica.occupancy.release()
        del self._tasks[call_id]

    def _fail(self, call_id: int, error: BaseException, *, has_run: bool = False) -> None:
        told = error.failure if isinstance(error, UpstreamError) else self._replica.failure(error)
        if has_run and told.kind == pb.FAILURE_KIND_LOST:
            # That would say that the call was not started, and may be made anew.
            told.kind = pb.FAILURE_KIND_CALL
        if self._caller_is_gone and told.kind == pb.FAILURE_KIND_CANCELLED:
            # For who was given a reference to the outcome: nobody has asked for that.
            why = f"the connection to {self.session.caller}, which had called, ended before"
            told = pb.Failure(kind=pb.FAILURE_KIND_LOST, message=why)
        self._values.fail(call_id, told)

    async def _run_stream(
        self, call_id: int, invocation: pb.Invocation, references: Sequence[Passed] = ()
    ) -> None:
        """Answer with the items that are ready first; keep the rest for the caller to read on."""
        pump = ItemPump(self._replica.code.stream(invocation, references))
        pump.start()
        try:
            items = await pump.next()
            if references:
                await self._replica.hold(lent(references))
        except BaseException as exc:  # user code, as above
            try:
                await pump.close()
            finally:  # a CANCEL may come in this moment too
                self._end(call_id, exc)
            return
        messages = [self._replica.outgoing(item) for item in items]
        parked = [message.payload_id for message in messages if message.payload_id]
        for payload_id in parked:
            # Fetched when the first item is asked for, however late; this link drops it else.
            self._replica.results.keep(payload_id)
        stream_id = ""
        if pump.finished:
            self._replica.occupancy.release()
        else:
            # The slot stays taken: it goes with the pump.
            stream_id = self._replica.streams.park(pump)
            parked.append(stream_id)
        if parked:
            self._park(call_id, parked)
        self.session.respond_items(call_id, messages, stream_id)
        del self._tasks[call_id]

    def _park(self, call_id: int, parked: Sequence[str]) -> None:
        """Note what a call has left at the replica, and forget what was taken."""
        self._parked = {
            each: ids for each, ids in self._parked.items() if self._replica.keeps_any(ids)
        }
        self._parked[call_id] = parked


class ClosedHost(LinkHost):
    """The link of a member that may ask for values here, and call nothing."""

    def __init__(self, replica: Replica, refusal: PermissionDeniedError) -> None:
        super().__init__(replica)
        self._refusal = refusal

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """Answer with the refusal."""
        self._fail(call_id, self._refusal)


async def answer_stream(
    replica: Replica, pump: ItemPump
) -> AsyncGenerator[pb.CallStreamResponse, None]:
    """Hand out a started pump's items, its slot back at the end."""
    messages: list[pb.Payload] = []
    try:
        while items := await pump.next():
            messages = [replica.outgoing(item) for item in items]
            yield pb.CallStreamResponse(items=messages)
            # Large items are fetched by themselves, beside the flow control of this stream.
            for message in messages:
                await replica.results.until_taken(message.payload_id)
    except BaseException as exc:  # user code, as above
        if isinstance(exc, GeneratorExit) or is_cancelled(exc):
            replica.drop([message.payload_id for message in messages])
            raise
        yield pb.CallStreamResponse(failure=replica.failure(exc))
    finally:
        try:
            await pump.close()
        finally:
            replica.occupancy.release()


def is_cancelled(error: BaseException) -> bool:
    """Whether an error ends this very task, and is not one of the user's code."""
    task = asyncio.current_task()
    cancelling = task is not None and task.cancelling() > 0
    return isinstance(error, asyncio.CancelledError) and cancelling
