"""The least that speaks HTTP, so that little of the machine goes to the one who asks."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field


@dataclass
class Client:
    """Keeps its connections open, and opens as many as there are requests at a time."""

    host: str
    port: int
    _free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self) -> bool:
        """A request that is answered, or refused by the gateway with the time to wait."""
        if not self._free:
            self._free.append(await asyncio.open_connection(self.host, self.port))
        reader, writer = self._free.pop()
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines if line)
        await reader.readexactly(int(headers[b"content-length"]))
        self._free.append((reader, writer))
        if b" 503 " in status:
            assert int(headers[b"retry-after"]) > 0
            return False
        assert b" 200 " in status, status
        return True

    async def close(self) -> None:
        """End every connection."""
        for _, writer in self._free:
            writer.close()
            await writer.wait_closed()
