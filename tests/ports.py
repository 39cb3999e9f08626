"""Ports for programs to bind later."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path


def free_ports(count: int) -> list[int]:
    """Ports that nothing serves at. None of those that the system gives to whoever asks for any:
    another process might be given it while images are built."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    found: list[int] = []
    for port in random.sample(range(lowest // 2, lowest), k=100):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"no {count} of 100 ports below {lowest} are free")
