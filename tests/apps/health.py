"""A deployment that falls ill when it is told to, and can keep its loop."""

from __future__ import annotations

import os
import time

from meshgen import serve


@serve.deployment(
    num_replicas=2,
    max_ongoing_requests=100,
    health_check_period_s=0.2,
    health_check_timeout_s=10.0,
    user_config={"name": "first"},
)
class Patient:
    """Healthy at first."""

    def __init__(self) -> None:
        self._ill = False
        self._name = ""

    def reconfigure(self, config: dict[str, str]) -> None:
        """Take a name."""
        self._name = config["name"]

    def check_health(self) -> None:
        """Ill or not."""
        if self._ill:
            raise RuntimeError("I have a fever")

    async def fall_ill(self) -> int:
        """The process of the replica that is ill from now on."""
        self._ill = True
        return os.getpid()

    async def pid(self) -> int:
        """The process of the replica that answers."""
        return os.getpid()

    async def name(self) -> str:
        """By the configuration."""
        return self._name

    async def block(self, seconds: float) -> str:
        """Keep the loop."""
        time.sleep(seconds)  # noqa: ASYNC251 - it is what users get wrong
        return "back"


app = Patient.bind()
