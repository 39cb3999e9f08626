"""One caller's link over gRPC, at the replica: what comes in, what goes out, and why it ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from meshgen.errors import PermissionDeniedError, ProtocolError
from meshgen.runtime.host import ClosedHost, LinkHost
from meshgen.runtime.replica import Replica

logger = logging.getLogger("meshgen")

_LAST_WRITE_SECONDS = 1.0
# So much may wait for a caller that reads more slowly than it asks; then its requests are left
# where they are, and it has this long to take the next message.
MOST_UNREAD_BYTES = 8 * 1024 * 1024
UNREAD_SECONDS = 30.0


class LinkCarrier:
    """Carries one link until either side ends it. Owns the writer's task while it runs."""

    def __init__(
        self,
        replica: Replica,
        context: Any,
        refusal: PermissionDeniedError | None = None,
        unread_seconds: float = UNREAD_SECONDS,
    ) -> None:
        self._replica = replica
        self._context = context
        self._refusal = refusal
        self._unread_seconds = unread_seconds

    async def run(self) -> None:
        """Until the end; what breaks the protocol is logged, and told to the caller."""
        self._replica.enter_context()
        async with self._host() as host:
            writer = asyncio.create_task(self._write(host))
            try:
                await self._read(host)
                host.session.outbox.close()
                await writer
            except ProtocolError as exc:
                who = host.session.caller or f"somebody at {self._context.peer()}"
                logger.warning("%s ended the link of %s: %s", self._replica.origin, who, exc)
                # gRPC loses the status of a call that is aborted during a write.
                host.session.outbox.close()
                await asyncio.wait((writer,), timeout=_LAST_WRITE_SECONDS)
                await self._context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(exc))
            finally:
                writer.cancel()

    def _host(self) -> LinkHost:
        if self._refusal is None:
            return LinkHost(self._replica)
        return ClosedHost(self._replica, self._refusal)

    async def _read(self, host: LinkHost) -> None:
        outbox = host.session.outbox
        with translate_decoding_errors():
            while (message := await self._context.read()) is not grpc.aio.EOF:
                await host.receive(message.frames)
                if outbox.pending > MOST_UNREAD_BYTES:
                    await self._until_read(host)

    async def _until_read(self, host: LinkHost) -> None:
        try:
            await host.session.outbox.until_below(MOST_UNREAD_BYTES, self._unread_seconds)
        except TimeoutError as exc:
            raise ProtocolError(
                f"{host.session.caller} has read nothing for {self._unread_seconds:g} s, while "
                f"{host.session.outbox.pending} bytes wait for it"
            ) from exc

    async def _write(self, host: LinkHost) -> None:
        outbox, occupancy = host.session.outbox, self._replica.occupancy
        # The caller may be gone at any write; the reader sees that too, and ends the link.
        with suppress(grpc.aio.AbortError, grpc.aio.InternalError, asyncio.InvalidStateError):
            while (message := await outbox.next()) is not None:
                message.ongoing = occupancy.ongoing
                await self._context.write(message)


@contextmanager
def translate_decoding_errors() -> Iterator[None]:
    """Turn Protobuf's error about bytes that are no message into ours."""
    try:
        yield
    except DecodeError as exc:
        raise ProtocolError(f"what was sent is no message of the mesh: {exc}") from exc
