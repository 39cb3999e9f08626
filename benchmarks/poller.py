"""Which of gRPC's experiments a process runs with: they choose its poller."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

# As gRPC comes.
STOCK = ""
_VARIABLE = "GRPC_EXPERIMENTS"


@contextmanager
def chosen(experiments: str) -> Iterator[None]:
    """For the processes that are started inside.

    Theirs to choose it is not: gRPC reads this while it is imported, before their first own line.
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = experiments
    try:
        yield
    finally:
        if before is None:
            del os.environ[_VARIABLE]
        else:
            os.environ[_VARIABLE] = before
