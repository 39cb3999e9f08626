"""Payloads too large for the link: cut into chunks, put together again, kept until fetched."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from meshgen.errors import ProtocolError
from meshgen.types import Buffer, Payload, new_id

# Above this a payload leaves the link: what is queued behind it would wait for it.
INLINE_LIMIT = 64 * 1024
CHUNK_SIZE = 1024 * 1024
# A payload that nobody came for within this many seconds has lost its caller.
KEEP_SECONDS = 60.0
# What was announced as larger than this was a mistake.
_MACHINE_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def sizes_of(payload: Payload) -> list[int]:
    """The size of the pickle and of each buffer, in bytes."""
    return [memoryview(part).nbytes for part in (payload.pickle, *payload.buffers)]


def chunks_of(payload: Payload) -> Iterator[bytes]:
    """The parts of a payload one after the other, in pieces of at most `CHUNK_SIZE`."""
    for part in (payload.pickle, *payload.buffers):
        view = memoryview(part).cast("B")
        for start in range(0, len(view), CHUNK_SIZE):
            yield bytes(view[start : start + CHUNK_SIZE])


class Assembler:
    """Puts a payload together from its chunks, into memory that grows as they come."""

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise ProtocolError("a large payload came without its sizes")
        if sum(sizes) > _MACHINE_BYTES:
            raise ProtocolError(f"a payload of {sum(sizes)} bytes has no room here")
        self._sizes = sizes
        self._parts = [bytearray() for _ in sizes]
        self._part = 0

    def add(self, chunk: Buffer) -> None:
        """Add the next chunk.

        Raises:
            ProtocolError: There is more than the sizes said.
        """
        view = memoryview(chunk)
        while len(view):
            self._skip_full_parts()
            if self._part == len(self._parts):
                raise ProtocolError("a large payload is longer than its sizes said")
            part = self._parts[self._part]
            taken = view[: self._sizes[self._part] - len(part)]
            try:
                part += taken
            except MemoryError as exc:
                raise ProtocolError(
                    f"a payload of {sum(self._sizes)} bytes has no room here"
                ) from exc
            view = view[len(taken) :]

    def payload(self) -> Payload:
        """The whole.

        Raises:
            ProtocolError: Some of it is missing.
        """
        self._skip_full_parts()
        if self._part != len(self._parts):
            raise ProtocolError("a large payload ended before its sizes said")
        return Payload(self._parts[0], self._parts[1:])

    def _skip_full_parts(self) -> None:
        while self._part < len(self._parts) and self._is_full(self._part):
            self._part += 1

    def _is_full(self, part: int) -> bool:
        return len(self._parts[part]) == self._sizes[part]


@dataclass(frozen=True, slots=True)
class _Kept:
    payload: Payload
    timer: asyncio.TimerHandle
    taken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class PayloadStore:
    """Payloads under unguessable ids until somebody takes them, or for `keep_seconds`."""

    keep_seconds: float = KEEP_SECONDS
    _kept: dict[str, _Kept] = field(default_factory=dict)

    def park(self, payload: Payload) -> str:
        """Keep a payload and return the id to take it by."""
        payload_id = new_id()
        self.put(payload_id, payload)
        return payload_id

    def put(self, payload_id: str, payload: Payload) -> None:
        """Keep a payload under an id chosen by its sender."""
        self.drop(payload_id)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.keep_seconds, self.drop, payload_id)
        self._kept[payload_id] = _Kept(payload, timer)

    def take(self, payload_id: str) -> Payload:
        """Hand a payload out, once.

        Raises:
            ProtocolError: There is none of that id.
        """
        kept = self._kept.pop(payload_id, None)
        if kept is None:
            raise ProtocolError(f"no payload {payload_id} is kept here (any more)")
        kept.timer.cancel()
        kept.taken.set()
        return kept.payload

    def keep(self, payload_id: str) -> None:
        """Keep it however long it takes: it is dropped by who parked it if nobody comes."""
        self._kept[payload_id].timer.cancel()

    async def until_taken(self, payload_id: str) -> None:
        """Keep it until somebody takes it, and wait for that."""
        if payload_id in self._kept:
            kept = self._kept[payload_id]
            kept.timer.cancel()
            await kept.taken.wait()

    def drop(self, payload_id: str) -> None:
        """Nobody will come for it; harmless if somebody did."""
        if payload_id in self._kept:
            self.take(payload_id)

    def __contains__(self, payload_id: str) -> bool:
        return payload_id in self._kept

    def __len__(self) -> int:
        return len(self._kept)
