"""What a process tells its supervisor: lines of JSON on a pipe."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any


async def follow_reports(read_end: int, tell: Callable[[dict[str, Any]], None]) -> None:
    """Hand over each report, until nobody can write any more. Owns the descriptor."""
    reader = asyncio.StreamReader(limit=2**24)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    try:
        async for line in reader:
            tell(json.loads(line))
    finally:
        transport.close()
