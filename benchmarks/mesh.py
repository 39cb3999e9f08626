"""The echo as a meshgen application, called from one of its replicas or from the driver."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from benchmarks.measure import Figures, Subject, concurrent, measure
from benchmarks.plan import Plan
from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

APP = "benchmark"


class Echo:
    """Gives back what it gets."""

    async def echo(self, value: Any) -> Any:
        """The value itself."""
        return value

    async def stream(self, kind: str, count: int) -> AsyncIterator[Any]:
        """So many items."""
        for number in range(count):
            yield number if kind == "int" else f"item {number}"


class Caller:
    """Measures calls from inside of the mesh: from one replica to another."""

    def __init__(self, echo: DeploymentHandle) -> None:
        self.subject = handle_subject(echo)

    async def measure(self, plan: Plan) -> Figures:
        """One round, on this replica's own event loop."""
        return await measure(self.subject, plan)

    async def load(self, plan: Plan) -> float:
        """Small calls of as many callers as there are at most; calls per second."""
        return await concurrent(self.subject.echo, max(plan.callers), plan.seconds)


def handle_subject(handle: DeploymentHandle) -> Subject:
    """Calls through a handle."""
    return Subject(
        echo=handle.echo.remote,
        stream=handle.options(stream=True).stream.remote,
        array=_array,
    )


def _array(size: int) -> Any:
    # Replicas that are measured for their memory never come here.
    import numpy as np

    return np.zeros(size, dtype=np.uint8)


# Not as decorators: mypy does not know what decorators make of a class.
many_calls = serve.deployment(max_ongoing_requests=10_000)
echo_deployment = many_calls(Echo)
app = many_calls(Caller).bind(echo_deployment.bind())


@contextmanager
def mesh() -> Iterator[tuple[DeploymentHandle, DeploymentHandle]]:
    """The application as local processes; handles of its caller and of its echo."""
    serve.start({"port": 0})
    try:
        caller = serve.run(app, name=APP, route_prefix=None)
        yield caller, serve.get_deployment_handle("Echo", APP)
    finally:
        serve.shutdown()


def unique_memory_mb() -> dict[str, float]:
    """The memory that only one process has (USS), of each replica that runs here."""
    return {
        f"{name}#{replica.replica_id}": psutil.Process(replica.pid).memory_full_info().uss / 1e6
        for overview in serve.status().applications.values()
        for name, deployment in overview.deployments.items()
        for replica in deployment.replicas
    }
