"""Which of gRPC's pollers this process runs with: chosen before gRPC is imported, or never.

gRPC's event engine hands each message from thread to thread; its older poller takes a third of an
echo's time away. gRPC reads the choice once, while it is imported.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

# Other versions would complain of a switch that they do not know.
_KNOWN = (1, 80), (1, 85)
OLDER = "-event_engine_client,-event_engine_listener"


def choose_poller() -> None:
    """Take the older one where it is known, unless the user has said which."""
    if _KNOWN[0] <= _grpc_version() <= _KNOWN[1]:
        os.environ.setdefault("GRPC_EXPERIMENTS", OLDER)


def _grpc_version() -> tuple[int, ...]:
    """Told by the name of what installed it: `importlib.metadata` would take 15 ms of the start."""
    spec = find_spec("grpc")
    if spec is None or spec.origin is None:
        return ()
    found = Path(spec.origin).parents[1].glob("grpcio-*.dist-info")
    names = [path.name.removeprefix("grpcio-").split(".") for path in found]
    return tuple(int(part) for part in names[0][:2]) if names else ()
