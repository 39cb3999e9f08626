"""One caller's link at a replica: its calls become tasks, their outcomes frames."""

from __future__ import annotations

import asyncio
import inspect

from meshgen.runtime.replica import Replica
from meshgen.runtime.session import ReplicaSession
from meshgen.v1 import mesh_pb2 as pb


class LinkHost:
    """The replica's side of one link, whatever carries its messages. Owns the calls' tasks."""

    def __init__(self, replica: Replica) -> None:
        self.session = ReplicaSession(replica.stub.id, self)
        self._replica = replica
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()

    async def __aenter__(self) -> LinkHost:
        self._replica.watch(self.session.announce)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """The caller is gone: nobody waits for what still runs."""
        self._replica.unwatch(self.session.announce)
        tasks = list(self._tasks.values())
        for call_id in list(self._tasks):
            self.left(call_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def requested(self, call_id: int, invocation: pb.Invocation) -> None:
        """Start a call, or send it away."""
        if self._replica.admit():
            self._tasks[call_id] = self._loop.create_task(self._run(call_id, invocation))
        else:
            self.session.refuse(call_id)

    def left(self, call_id: int) -> None:
        """Cancel a call; its slot is free when its code has ended."""
        task = self._tasks.get(call_id)
        if task is None:
            return
        # A task that is cancelled before its first step never runs, its `finally` included.
        unstarted = inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED
        task.cancel()
        if unstarted:
            self._end(call_id, asyncio.CancelledError())

    def _end(self, call_id: int, outcome: pb.Payload | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self.session.fail(call_id, self._replica.failure(outcome))
        else:
            self.session.respond(call_id, outcome)
        self._replica.release()
        del self._tasks[call_id]

    async def _run(self, call_id: int, invocation: pb.Invocation) -> None:
        outcome: pb.Payload | BaseException
        try:
            outcome = await self._replica.call(invocation)
        except BaseException as exc:  # user code: SystemExit too is an error to its caller
            outcome = exc
        self._end(call_id, outcome)
