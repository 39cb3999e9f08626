"""What the service processes of these tests run."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path


class Worker:
    """Answers, waits, blocks, and says when it goes."""

    async def pid(self) -> int:
        """Of this process."""
        return os.getpid()

    def finish(self, marker: str) -> str:
        """Wait until the test takes the marker away."""
        Path(marker).touch()
        while Path(marker).exists():
            time.sleep(0.01)
        return "finished"

    def block(self, marker: str) -> None:
        """Never come back."""
        Path(marker).touch()
        threading.Event().wait()

    def __del__(self) -> None:
        print("the worker goes", flush=True)


class Broken:
    """Cannot be constructed."""

    def __init__(self) -> None:
        raise ValueError("no model here")


class Leaving:
    """Wants to end the process in its constructor."""

    def __init__(self) -> None:
        sys.exit("I quit")


class Clinging:
    """Cannot be constructed, and has started a thread that does not end."""

    def __init__(self) -> None:
        threading.Thread(target=time.sleep, args=(3600,)).start()
        raise ValueError("too late")
