"""Which of gRPC's experiments a process runs with: they choose its poller."""

from __future__ import annotations

import os

# As gRPC comes.
STOCK = ""


def choose(experiments: str) -> None:
    """Before the first channel or server of this process: that is when gRPC reads them."""
    os.environ["GRPC_EXPERIMENTS"] = experiments
