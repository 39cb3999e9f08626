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


class Sick:
    """Falls ill when it is told to."""

    def __init__(self) -> None:
        self._ill = False

    async def fall_ill(self) -> None:
        """From the next check on."""
        self._ill = True

    def check_health(self) -> None:
        """Ill or not."""
        if self._ill:
            raise ValueError("I am ill")

    async def block(self, marker: str) -> None:
        """Keep the loop, and with it all there is, until the test takes the marker away."""
        self.finish(marker)

    def finish(self, marker: str) -> str:
        """Wait in a thread until the test takes the marker away."""
        Path(marker).touch()
        while Path(marker).exists():
            time.sleep(0.01)
        return "finished"


class Tuned:
    """Has a configuration."""

    def __init__(self) -> None:
        self._config: object = None

    async def reconfigure(self, config: object) -> None:
        """Take a new one; some are no good."""
        if config == "bad":
            raise ValueError("no such voice")
        if config == "worse":
            sys.exit("I quit")
        self._config = config

    async def config(self) -> object:
        """The one that it has."""
        return self._config


class Loading:
    """Takes its time, on the loop, until the test lets it go on."""

    def __init__(self) -> None:
        self._wait("construct")

    def reconfigure(self, _config: str) -> None:
        """The same."""
        self._wait("reconfigure")

    def _wait(self, step: str) -> None:
        print(step, flush=True)
        marker = Path(os.environ["MESHGEN_MESH_FILE"]).parent / "go on"
        while not marker.exists():
            time.sleep(0.01)
        marker.unlink()
