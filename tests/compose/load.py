"""A steady load on a mesh, and what came back."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Any, Self

import httpx

# A load that nobody stops ends by itself.
_LONGEST_S = 180.0
_CLIENTS = 4
_PAUSE_S = 0.005


class Load:
    """Posts one body over and over from several threads while the `with` block runs."""

    def __init__(self, url: str, body: Any) -> None:
        self.failures: list[str] = []
        # When each replica answered for the first and the last time, on time.monotonic's clock.
        self.first_seen: dict[str, float] = {}
        self.last_seen: dict[str, float] = {}
        self.answers = 0
        self._url, self._body = url, body
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(_CLIENTS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for_replicas(self, count: int, timeout: float) -> bool:
        """Wait until so many replicas have answered; whether they did in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self.first_seen) >= count, timeout)

    def wait_for_answers(self, more: int, timeout: float) -> bool:
        """Wait for so many more answers; whether they came in time."""
        with self._changed:
            goal = self.answers + more
            return self._changed.wait_for(lambda: self.answers >= goal, timeout)

    def _run(self) -> None:
        end = time.monotonic() + _LONGEST_S
        with httpx.Client(timeout=30) as client:
            while not self._stop.wait(_PAUSE_S) and time.monotonic() < end:
                self._ask(client)

    def _ask(self, client: httpx.Client) -> None:
        try:
            answer = client.post(self._url, json=self._body)
            replica = answer.raise_for_status().json()["replica"]
        except (httpx.HTTPError, ValueError, KeyError) as exc:
            self.failures.append(f"{type(exc).__name__}: {exc}")
            return
        with self._changed:
            self.answers += 1
            self.last_seen[replica] = time.monotonic()
            self.first_seen.setdefault(replica, self.last_seen[replica])
            self._changed.notify_all()
