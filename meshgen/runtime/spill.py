"""Keep payloads in memory up to a number of bytes, and in files what is above.

A file holds the pickle and then each buffer, with nothing between them: their sizes stay in memory.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from meshgen.types import Payload

logger = logging.getLogger("meshgen")

_T = TypeVar("_T")

# Between two pieces a thread looks whether it is still wanted.
_PIECE_BYTES = 4 * 1024 * 1024
# One writes, the others read and remove.
_THREADS = 4
# How long a disk that refused a file is left alone.
RETRY_SECONDS = 10.0


@dataclass(slots=True, kw_only=True)
class SpillFile:
    """A payload on disk."""

    path: Path
    # Of the pickle and of each buffer.
    sizes: tuple[int, ...]
    # What it refers to is alive in this process, and stays in memory.
    references: Sequence[Any]
    readers: int = 0

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(self.sizes)


class SpillFolder:
    """A private folder of payload files, made when the first one is written.

    Its methods block and belong into a thread; once `closed` is set they end within one piece.
    """

    def __init__(self, parent: Path | None) -> None:
        self.closed = False
        self._parent = parent
        self._path: Path | None = None
        self._written = 0

    def write(self, payload: Payload) -> SpillFile:
        """Write a payload to a file of its own. For one thread at a time.

        Raises:
            OSError: It could not be written; nothing is left of it.
        """
        parts = [memoryview(part) for part in (payload.pickle, *payload.buffers)]
        self._written += 1
        # Numbered: an id is what gives access to a value, and names can be seen by others.
        path = self._made() / f"{self._written}.value"
        try:
            with open(path, "xb", buffering=0, opener=_open_private) as file:
                for part in parts:
                    self._each_piece(part, file.write)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        sizes = tuple(part.nbytes for part in parts)
        return SpillFile(path=path, sizes=sizes, references=payload.references)

    def read(self, spilled: SpillFile) -> Payload:
        """Read a payload back; what it holds is the reader's own, and writable.

        Raises:
            OSError: The file is not what was written any more.
        """
        parts = [bytearray(size) for size in spilled.sizes]
        with open(spilled.path, "rb", buffering=0) as file:
            for part in parts:
                self._each_piece(memoryview(part), file.readinto)
        return Payload(bytes(parts[0]), parts[1:], spilled.references)

    def remove(self, spilled: SpillFile) -> None:
        """Delete a file."""
        with suppress(OSError):  # deleted by others, or by `close` in the end
            spilled.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Delete the folder with all that is in it; no thread may be at work here any more."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)

    def _made(self) -> Path:
        if self._path is None or not self._path.exists():
            if self._parent is not None:
                self._parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path = Path(tempfile.mkdtemp(prefix="meshgen-values-", dir=self._parent))
        return self._path

    def _each_piece(self, part: memoryview, move: Callable[[memoryview], int | None]) -> None:
        """Move a part to or from a file, which may take less at a time than it is given."""
        left = part.cast("B") if part.nbytes else part[:0]
        while left.nbytes:
            if self.closed:
                raise OSError("the values of this replica were closed")
            moved = move(left[:_PIECE_BYTES])
            if not moved:
                raise OSError("a file of values ends too early")
            left = left[moved:]


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Shelf:
    """Payloads by key: the ones used last in memory, the others in files.

    Files are written and read in threads. A payload stays in memory until its file is complete, and
    for good where it cannot be written.
    """

    def __init__(
        self,
        capacity: int,
        parent: Path | None,
        on_spilled: Callable[[], None],
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.bytes = 0
        self.spilled_bytes = 0
        # Whether a file is being written: one at a time.
        self.writing = False
        self._capacity = capacity
        self._on_spilled = on_spilled
        self._retry_seconds = retry_seconds
        self._folder = SpillFolder(parent)
        self._memory: OrderedDict[str, Payload] = OrderedDict()
        self._files: dict[str, SpillFile] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._warned = False
        self._retry_at = 0.0

    def __contains__(self, key: str) -> bool:
        return key in self._memory or key in self._files

    def put(self, key: str, payload: Payload) -> None:
        """Keep a payload under a new key."""
        size = payload.size
        self._memory[key] = payload
        self.bytes += size
        # It would drive out all others and go itself in the end.
        if size > self._capacity:
            self._memory.move_to_end(key, last=False)
        self._make_room()

    async def get(self, key: str) -> Payload:
        """The payload kept under a key, even if it is dropped meanwhile.

        Raises:
            OSError: It was in a file that cannot be read any more.
        """
        payload = self._memory.get(key)
        if payload is not None:
            self._memory.move_to_end(key)
            return payload
        spilled = self._files[key]
        spilled.readers += 1
        try:
            return await self._in_thread(partial(self._folder.read, spilled))
        finally:
            spilled.readers -= 1
            if self._files.get(key) is not spilled:
                self._remove(spilled)

    def drop(self, key: str) -> None:
        """Forget a payload; nothing happens if there is none."""
        payload = self._memory.pop(key, None)
        if payload is not None:
            self.bytes -= payload.size
        spilled = self._files.pop(key, None)
        if spilled is not None:
            self.spilled_bytes -= spilled.size
            self._remove(spilled)

    def close(self) -> None:
        """Forget all and delete the files; waits for threads, which end within one piece."""
        self._folder.closed = True
        if self._threads is not None:
            self._threads.shutdown(wait=True)
        self._folder.close()
        self._memory.clear()
        self._files.clear()
        self.bytes = self.spilled_bytes = 0

    def _make_room(self) -> None:
        """Write the payload used longest ago to a file, while there is too much in memory."""
        if self.bytes <= self._capacity or self.writing:
            return
        if asyncio.get_running_loop().time() < self._retry_at:
            return
        key, payload = next(iter(self._memory.items()))
        self.writing = True
        written = self._in_thread(partial(self._folder.write, payload))
        written.add_done_callback(partial(self._spilled, key, payload))

    def _spilled(self, key: str, payload: Payload, written: asyncio.Future[SpillFile]) -> None:
        """A payload has been written, or could not be."""
        self.writing = False
        error = written.exception()
        if self._folder.closed:
            return
        if isinstance(error, OSError):
            self._refused(error)
            return
        spilled = written.result()
        self._warned = False
        if self._memory.get(key) is payload:
            self._move_out(key, spilled)
        else:
            self._remove(spilled)
        self._make_room()

    def _move_out(self, key: str, spilled: SpillFile) -> None:
        del self._memory[key]
        self._files[key] = spilled
        self.bytes -= spilled.size
        self.spilled_bytes += spilled.size
        self._on_spilled()

    def _refused(self, error: OSError) -> None:
        """The disk takes nothing now: everything stays in memory."""
        self._retry_at = asyncio.get_running_loop().time() + self._retry_seconds
        if not self._warned:
            self._warned = True
            logger.warning(
                "values above %d bytes cannot be moved to disk (%s) and stay in memory; "
                "make space, or choose another folder",
                self._capacity,
                error,
            )

    def _remove(self, spilled: SpillFile) -> None:
        """Delete a file that nobody reads any more."""
        if spilled.readers or self._folder.closed:
            return
        self._in_thread(partial(self._folder.remove, spilled))

    def _in_thread(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="meshgen-spill")
        return asyncio.get_running_loop().run_in_executor(self._threads, work)
