"""HTTP/1.1 on one connection, with a time for all that its client has to do.

| the client | has | then |
|---|---|---|
| has connected, or begun a request | `head_seconds` to complete its headers | 408, closed |
| sends a body | `body_seconds` for each 64 KB of it, or for the rest | 408, closed |
| leaves an answer unread | `reader_seconds` for each 64 KB of it | cut off, its call cancelled |
| has its answer, and sends on | a megabyte | cut off |
| has its answer, and says nothing | `idle_seconds` | closed |

Where there are as many connections as may be, the one that has been without a request for the
longest time makes room for a new one; if all have requests, the new one is refused.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from meshgen.edgelimits import EdgeLimits
from meshgen.runtime.patience import Patience

_STEP = 64 << 10
_MOST_IGNORED = 1 << 20
_CLOSED = b"content-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\n" + _CLOSED
_TOO_MANY = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n" + _CLOSED


class LimitedProtocol(H11Protocol):
    """A connection that ends when its client takes longer than it may, or more."""

    def __init__(self, *given: Any, limits: EdgeLimits, **named: Any) -> None:
        super().__init__(*given, **named)
        self._limits = limits
        self._received = 0
        self._ignored = 0
        self._quiet_since = time.monotonic()
        self._head = Patience(limits.head_seconds, self._end_slow)
        self._body = Patience(
            limits.body_seconds, self._end_slow, moved=self._count_received, step=_STEP
        )
        self._reader = Patience(
            limits.reader_seconds, self._cut_off, moved=self._count_taken, step=_STEP
        )

    @property
    def is_quiet(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Somebody has connected."""
        has_room = len(self.connections) < self._limits.connections or self._make_room()
        super().connection_made(transport)
        if has_room:
            self._head.start()
        else:
            self._close(_TOO_MANY)

    def _make_room(self) -> bool:
        others = [each for each in self.connections if isinstance(each, LimitedProtocol)]
        quiet = [each for each in others if each.is_quiet]
        if not quiet:
            return False
        oldest = min(quiet, key=lambda each: each._quiet_since)
        self.connections.discard(oldest)
        oldest._cut_off()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for patience in (self._head, self._body, self._reader):
            patience.stop()

    def data_received(self, data: bytes) -> None:
        """Take what has come: of headers, no more than they may have."""
        self._received += len(data)
        if self._ignores(data):
            self._cut_off()
            return
        # h11 looks at the size of a head only while that is incomplete.
        size = self._limits.header_bytes if self.conn.their_state is h11.IDLE else len(data)
        for start in range(0, len(data), size):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + size])
        self._look()

    def _ignores(self, data: bytes) -> bool:
        """Whether the client sends more and more of a request that it has the answer to."""
        if self.cycle is None or not self.is_quiet or self.conn.their_state is not h11.SEND_BODY:
            self._ignored = 0
        else:
            self._ignored += len(data)
        return self._ignored > _MOST_IGNORED

    def _look(self) -> None:
        """Whether the client has something to send now."""
        state = self.conn.their_state
        is_open = not self.transport.is_closing()
        self._head.set(is_open and state is h11.IDLE)
        self._body.set(is_open and state is h11.SEND_BODY)

    def on_response_complete(self) -> None:
        """An answer was written."""
        self._quiet_since = time.monotonic()
        super().on_response_complete()
        if self.transport.is_closing():
            self._reader.start()
        elif self.conn.their_state is h11.SEND_BODY:  # of a request that was sent ahead
            self._look()

    def timeout_keep_alive_handler(self) -> None:
        """No other request came."""
        super().timeout_keep_alive_handler()
        self._reader.start()  # for what it may not have read of the last answer

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        super().pause_writing()
        self._reader.start()

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        if not self.transport.is_closing():
            self._reader.stop()

    def _count_received(self) -> int:
        if self.flow.read_paused:  # it is not the client that is slow
            self._received += _STEP
        return self._received

    def _count_taken(self) -> int:
        return -self.transport.get_write_buffer_size()

    def _end_slow(self) -> None:
        answered = self.cycle is not None and self.cycle.response_started
        is_begun = bool(self.conn.trailing_data[0]) or self.conn.their_state is h11.SEND_BODY
        if self.conn.their_state is h11.SEND_BODY and answered:
            self._cut_off()
        else:
            self._close(_TOO_SLOW if is_begun else b"")

    def _close(self, last_words: bytes) -> None:
        self.transport.write(last_words)
        self.transport.close()
        self._reader.start()

    def _cut_off(self) -> None:
        self.transport.abort()
