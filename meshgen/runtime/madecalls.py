"""What a request leaves behind at its end: the calls that it has made, and its generator."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from meshgen.types import Abandonable, RequestContext


def end_calls(calls: set[Abandonable]) -> None:
    """Cancel the calls that a request has made and that still run, if it was cancelled itself."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        for call in list(calls):
            call.give_up()


async def end_stream(items: AsyncIterator[Any] | None, request: RequestContext) -> None:
    """Close a request's generator, if it came to that, and end its calls."""
    close = getattr(items, "aclose", None)  # the user's own iterator may have none
    try:
        if close is not None:
            await close()
    finally:
        if request.calls:
            end_calls(request.calls)
