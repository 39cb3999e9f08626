"""Frames of a link that wait to be written."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from meshgen.v1 import mesh_pb2 as pb

# A message stops growing at about this size, so that a batch of big frames stays a small message.
BATCH_BYTES = 512 * 1024

M = TypeVar("M", pb.LinkRequest, pb.LinkResponse)


class Outbox(Generic[M]):
    """Frames that wait to be written. All that is queued leaves as one message."""

    def __init__(self, message: type[M]) -> None:
        self._type: type[M] = message
        self._full: deque[M] = deque()
        self._open: M = message()
        self._frames = self._open.frames
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def add(self, size: int = 0) -> pb.Frame:
        """A new frame at the end of the queue, of about `size` bytes, to be filled in at once.

        Built in place: making a frame by itself and adding it costs twice as much.
        """
        if self._bytes >= BATCH_BYTES:
            self._full.append(self._open)
            self._renew()
        self._bytes += size
        self._wake()
        return self._frames.add()

    def _renew(self) -> None:
        self._open = self._type()
        self._frames = self._open.frames
        self._bytes = 0

    def close(self) -> None:
        """No frame will follow: what is queued is the end."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
            self._waiter = None

    def take(self) -> M | None:
        """All that is queued as one message, of about `BATCH_BYTES` at most; None if nothing is."""
        if self._full:
            return self._full.popleft()
        if not self._frames:
            return None
        message = self._open
        self._renew()
        return message

    async def next(self) -> M | None:
        """The next message to write; None once closed and empty."""
        while True:
            message = self.take()
            if message is not None or self._closed:
                return message
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter


def note(outbox: Outbox[M], kind: pb.FrameKind, call_id: int) -> pb.Frame:
    """Queue a frame that says nothing but its kind."""
    frame = outbox.add()
    frame.kind = kind
    frame.id = call_id
    return frame


async def after_what_follows(frames: Sequence[pb.Frame]) -> None:
    """Let what a lone frame set off come before asking gRPC for the next message.

    Asking costs as much as a small call. So that comes after the task that the frame woke (one turn
    of the loop) and the write of what it queued (another). Many frames are a sign of many callers,
    who gain more by the next message.
    """
    if len(frames) == 1:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
