"""Payloads too large for the link: cut into chunks, put together again, kept until fetched."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from meshgen.errors import ProtocolError
from meshgen.types import Buffer, Payload, new_id

# Above this a payload leaves the link: what is queued behind it would wait for it.
INLINE_LIMIT = 64 * 1024
CHUNK_SIZE = 1024 * 1024
# A payload that nobody came for within this many seconds has lost its caller.
KEEP_SECONDS = 60.0


def sizes_of(payload: Payload) -> list[int]:
    """The size of the pickle and of each buffer, in bytes."""
    return [len(payload.pickle), *(len(part) for part in payload.buffers)]


def chunks_of(payload: Payload) -> Iterator[bytes]:
    """The parts of a payload one after the other, in pieces of at most `CHUNK_SIZE`."""
    for part in (payload.pickle, *payload.buffers):
        view = memoryview(part)
        for start in range(0, len(view), CHUNK_SIZE):
            yield bytes(view[start : start + CHUNK_SIZE])


class Assembler:
    """Puts a payload together from its chunks, into memory taken once."""

    def __init__(self, sizes: Sequence[int]) -> None:
        if not sizes:
            raise ProtocolError("a large payload came without its sizes")
        self._parts = [bytearray(size) for size in sizes]
        self._part = 0
        self._at = 0

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
            taken = view[: len(part) - self._at]
            part[self._at : self._at + len(taken)] = taken
            self._at += len(taken)
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
        while self._part < len(self._parts) and self._at == len(self._parts[self._part]):
            self._part, self._at = self._part + 1, 0


@dataclass
class PayloadStore:
    """Payloads under unguessable ids until somebody takes them, or for `KEEP_SECONDS`."""

    _kept: dict[str, tuple[float, Payload]] = field(default_factory=dict)

    def park(self, payload: Payload) -> str:
        """Keep a payload and return the id to take it by."""
        payload_id = new_id()
        self.put(payload_id, payload)
        return payload_id

    def put(self, payload_id: str, payload: Payload) -> None:
        """Keep a payload under an id chosen by its sender."""
        now = time.monotonic()
        for stale in [key for key, (until, _) in self._kept.items() if until < now]:
            del self._kept[stale]
        self._kept[payload_id] = (now + KEEP_SECONDS, payload)

    def take(self, payload_id: str) -> Payload:
        """Hand a payload out, once.

        Raises:
            ProtocolError: There is none of that id.
        """
        if payload_id not in self._kept:
            raise ProtocolError(f"no payload {payload_id} is kept here (any more)")
        return self._kept.pop(payload_id)[1]

    def __len__(self) -> int:
        return len(self._kept)
