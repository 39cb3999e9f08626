"""The calls that a request has made, at its end."""

from __future__ import annotations

import asyncio

from meshgen.types import Abandonable


def end_calls(calls: set[Abandonable]) -> None:
    """Cancel the calls that a request has made and that still run, if it was cancelled itself."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        for call in list(calls):
            call.give_up()
