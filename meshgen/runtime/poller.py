"""What moves gRPC's messages in this process: which poller, and that no blocked loop stops it."""

from __future__ import annotations

import gc
import os
import socket
import threading
from importlib.util import find_spec
from pathlib import Path

# Other versions would complain of a switch that they do not know.
_KNOWN = (1, 80), (1, 85)
OLDER = "-event_engine_client,-event_engine_listener"


def choose_poller() -> None:
    """Take the older one where it is known, unless the user has said which.

    gRPC's event engine hands each message from thread to thread; its older poller takes a third of
    an echo's time away. It reads the choice once, while it is imported: this must be before.
    """
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


def free_poller() -> None:
    """Have gRPC's thread never wait for a loop that user code blocks.

    It runs once there is a channel or a server, and wakes the loop by a byte for each event. With
    a few hundred of them unread it would wait for room, answer no ping meanwhile, and so look dead
    to others. One unread byte says as much as many: the loop then takes all events that there are.
    """
    for thread in threading.enumerate():
        queue = getattr(getattr(thread, "_target", None), "__self__", None)
        if type(queue).__name__ == "PollerCompletionQueue":
            for each in gc.get_referents(queue):
                if isinstance(each, socket.socket):
                    each.setblocking(False)
