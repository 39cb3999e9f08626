"""How long three deployments take from `serve.run` to their first answer, in a fresh process.

`python -m benchmarks.startup` prints seconds and the replicas' unique memory as one line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from benchmarks.mesh import unique_memory_mb
from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


class Adder:
    """Adds one."""

    async def add(self, number: int) -> int:
        """The next number."""
        return number + 1


class Doubler:
    """Doubles."""

    async def double(self, number: int) -> int:
        """Twice the number."""
        return number * 2


class Ingress:
    """Passes one response on to the next call."""

    def __init__(self, adder: DeploymentHandle, doubler: DeploymentHandle) -> None:
        self.adder = adder
        self.doubler = doubler

    async def __call__(self, number: int) -> Any:
        """Twice the next number."""
        return await self.doubler.double.remote(self.adder.add.remote(number))


# Not as decorators: mypy does not know what decorators make of a class.
app = serve.deployment(Ingress).bind(
    serve.deployment(Adder).bind(), serve.deployment(Doubler).bind()
)


def main() -> None:
    """Start the application and its gateway, call once, and tell how long that took."""
    began = time.perf_counter()
    serve.start({"port": 0})
    answer = serve.run(app, name="startup").remote(20).result(timeout_s=30)
    seconds = time.perf_counter() - began
    assert answer == 42
    print(json.dumps({"seconds": seconds, "uss_mb": unique_memory_mb()}), flush=True)
    serve.shutdown()


def start_once() -> dict[str, Any]:
    """What `main` printed in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.startup"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


if __name__ == "__main__":
    main()
