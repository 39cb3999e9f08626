"""A server in a process of its own, for as long as a `with` block runs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_START_SECONDS = 30.0


@contextmanager
def server_process(serve: Callable[..., None], *arguments: Any) -> Iterator[str]:
    """Run `serve(connection, *arguments)`, which sends its address when it serves."""
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
    process.start()
    try:
        if not ours.poll(_START_SECONDS):
            raise TimeoutError(f"{serve.__module__} did not serve within {_START_SECONDS:g} s")
        yield ours.recv()
    finally:
        process.terminate()
        process.join()
        ours.close()
        theirs.close()
