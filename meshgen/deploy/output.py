"""What a process prints, line by line, and its end, whoever else holds its output open."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

# How much of its standard error is kept until it has ended: lines, and characters of each.
_TAIL = 50
_LINE = 500


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
        self._errors: deque[str] = deque(maxlen=_TAIL)

    @property
    def last_errors(self) -> str:
        """The last lines of its standard error."""
        return "\n".join(self._errors)

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
        text = line.decode(errors="replace")
        if fd == 2:
            self._errors.append(text[:_LINE])
        self._on_line(text, fd == 2)

    def process_exited(self) -> None:
        """The process itself has ended."""
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended, and its output too."""
        self.closed.set()
