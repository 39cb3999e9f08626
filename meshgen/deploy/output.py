"""What a process prints, line by line, and its end, whoever else holds its output open."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ProcessOutput(asyncio.SubprocessProtocol):
    """Hands over each line with whether it is an error.

    `exited` is set when the process has ended, `closed` when nobody can write any more: what it has
    started may outlive it.
    """

    def __init__(self, on_line: Callable[[str, bool], None]) -> None:
        self.exited = asyncio.Event()
        self.closed = asyncio.Event()
        self._on_line = on_line
        self._rest: dict[int, bytes] = {}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Something was printed."""
        *lines, self._rest[fd] = (self._rest.get(fd, b"") + data).split(b"\n")
        for line in lines:
            self._tell(fd, line)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """The last line may have no end."""
        if rest := self._rest.pop(fd, b""):
            self._tell(fd, rest)

    def _tell(self, fd: int, line: bytes) -> None:
        self._on_line(line.decode(errors="replace"), fd == 2)

    def process_exited(self) -> None:
        """The process itself has ended."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and its output too."""
        self.closed.set()
