"""Frames of a link that wait to be written."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from meshgen.v1 import mesh_pb2 as pb

# A message stops growing at about this size, so that a batch of big frames stays a small message.
BATCH_BYTES = 512 * 1024
# What a frame costs beside its payload: many small ones are much as well.
_FRAME_BYTES = 32

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
        # Who waits for a full message to be taken.
        self._sender: asyncio.Future[None] | None = None
        self._closed = False

    def add(self, size: int = 0) -> pb.Frame:
        """A new frame at the end of the queue, of about `size` bytes, to be filled in at once.

        Built in place: making a frame by itself and adding it costs twice as much.
        """
        if self._bytes >= BATCH_BYTES:
            self._full.append(self._open)
            self._renew()
        self._bytes += size + _FRAME_BYTES
        if self._waiter is not None:
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
            if self._sender is not None and not self._sender.done():
                self._sender.set_result(None)
            return self._full.popleft()
        if not self._frames:
            return None
        message = self._open
        self._renew()
        return message

    @property
    def pending(self) -> int:
        """About how many bytes wait to be written."""
        return len(self._full) * BATCH_BYTES + self._bytes

    async def until_below(self, most: int, seconds: float) -> None:
        """Wait until at most about that many bytes wait to be written; several messages' worth.

        Raises:
            TimeoutError: None was taken for so many seconds.
        """
        assert most > 2 * BATCH_BYTES  # only what is taken of full messages is told of
        while self.pending > most:
            self._sender = asyncio.get_running_loop().create_future()
            async with asyncio.timeout(seconds):
                await self._sender

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
