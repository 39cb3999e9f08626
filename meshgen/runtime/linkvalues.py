"""The values that a replica keeps for one caller's link."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container

from meshgen.errors import ObjectLostError, ProtocolError
from meshgen.runtime.frames import as_bytes, is_large
from meshgen.runtime.replica import Replica
from meshgen.runtime.replicasession import ReplicaSession
from meshgen.runtime.values import UpstreamError
from meshgen.types import Payload, new_value_id
from meshgen.v1 import mesh_pb2 as pb

_ELSEWHERE = "the call that should make a value was sent to another replica"


class LinkValues:
    """What one caller has asked to be kept, and what it asks for. Owns the holds of its link."""

    def __init__(
        self,
        replica: Replica,
        session: ReplicaSession,
        calls: Container[int],
        early: Container[int],
    ) -> None:
        self._replica = replica
        self._store = replica.values
        self._session = session
        # Ids of the calls that are here, and of those of them that may still be sent away.
        self._calls = calls
        self._early = early
        # Under which id the outcome of a call is to be kept.
        self.retained_calls: dict[int, str] = {}
        # Large results that nobody had asked to be kept, by call.
        self._left: dict[int, str] = {}
        # How many holds this link has on each value.
        self._held: Counter[str] = Counter()
        self._questions: dict[int, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """The caller is gone, and needs nothing any more."""
        tasks = list(self._questions.values())
        for task in tasks:
            task.cancel()
        for value_id in list(self._held.elements()):
            self._let_go(value_id)
        await asyncio.gather(*tasks, return_exceptions=True)

    def respond(self, call_id: int, outcome: Payload) -> None:
        """Answer a call with a small result, and keep that too if others were told of it."""
        value_id = self.retained_calls.pop(call_id, "")
        self._session.respond(call_id, outcome)
        if value_id:
            self._store.put(value_id, outcome)

    def leave(self, call_id: int, outcome: Payload) -> None:
        """Answer a call with the id under which its large result is kept."""
        value_id = self.retained_calls.pop(call_id, "")
        if not value_id:
            value_id = self._left[call_id] = new_value_id()
            self._hold_for_link(value_id)
        self._store.put(value_id, outcome)
        self._session.respond_with_id(call_id, value_id, outcome.references)

    def fail(self, call_id: int, failure: pb.Failure) -> None:
        """Answer a call with its error, and keep that too if others were told of it."""
        value_id = self.retained_calls.pop(call_id, "")
        self._session.fail(call_id, failure)
        if value_id:
            self._store.fail(value_id, failure)

    def refused(self, call_id: int) -> None:
        """A call was sent away: its outcome will not be here."""
        value_id = self.retained_calls.pop(call_id, "")
        if value_id:
            self._store.fail(value_id, pb.Failure(kind=pb.FAILURE_KIND_LOST, message=_ELSEWHERE))

    def retained(self, call_id: int, value_id: str) -> None:
        """The outcome of a call is to be kept; who has ended already, is told of by its answer.

        Raises:
            ProtocolError: It is to be kept already.
        """
        if call_id in self.retained_calls:
            raise ProtocolError(f"{self._session.caller} had call {call_id} retained twice")
        if call_id in self._calls:
            self._store.expect(value_id)
            self._hold_for_link(value_id)
            self.retained_calls[call_id] = value_id
            if call_id not in self._early:
                self._session.confirm(call_id)

    def started(self, call_id: int) -> None:
        """A call is not sent away any more: others may be told where its outcome will be."""
        if call_id in self.retained_calls:
            self._session.confirm(call_id)

    def _hold_for_link(self, value_id: str) -> None:
        self._held[value_id] += 1
        self._replica.occupancy.want(1)

    def _let_go(self, value_id: str) -> None:
        self._held[value_id] -= 1
        if not self._held[value_id]:
            del self._held[value_id]
        self._replica.occupancy.want(-1)
        self._store.release(value_id)

    def asked(self, frame: pb.Frame) -> None:
        """A value is wanted, or a hold on it."""
        if frame.kind == pb.FRAME_KIND_HOLD:
            self._hold(frame.id, frame.value_id)
            return
        task = asyncio.get_running_loop().create_task(self._hand_out(frame.id, frame.value_id))
        self._questions[frame.id] = task
        task.add_done_callback(lambda _: self._questions.pop(frame.id, None))

    def _hold(self, question: int, value_id: str) -> None:
        try:
            self._store.hold(value_id)
        except ObjectLostError as exc:
            self._session.fail(question, self._replica.failure(exc))
            return
        self._hold_for_link(value_id)
        self._session.respond(question, Payload(b""))

    async def _hand_out(self, question: int, value_id: str) -> None:
        try:
            payload = await self._store.get(value_id)
        except UpstreamError as exc:
            self._session.fail(question, exc.failure)
        except ObjectLostError as exc:
            self._session.fail(question, self._replica.failure(exc))
        else:
            if is_large(payload):
                self._session.respond_with_id(question, value_id, payload.references)
            else:
                self._session.respond(question, as_bytes(payload))

    def left(self, call_id: int) -> None:
        """Nobody waits for an answer any more, or comes for what it left here."""
        if call_id in self._left:
            self.released(self._left[call_id])
        task = self._questions.get(call_id)
        if task is not None and not task.done():
            task.cancel()
            self._session.fail(call_id, self._replica.failure(asyncio.CancelledError()))

    def released(self, value_id: str) -> None:
        """The caller needs a value no more."""
        if value_id in self._held:
            self._let_go(value_id)
        for call_id in [call for call, left in self._left.items() if left == value_id]:
            del self._left[call_id]
