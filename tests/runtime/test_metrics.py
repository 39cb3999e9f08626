"""A replica's figures, as Prometheus reads them."""

from __future__ import annotations

import asyncio
import urllib.request

from meshgen.runtime.metrics import serving_metrics
from meshgen.types import Payload
from tests.runtime.replicas import run_here


class _Idle:
    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def wait(self) -> None:
        self.began.set()
        await asyncio.Event().wait()


def _read(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    return text


async def test_the_figures_are_those_of_the_moment() -> None:
    """Calls that run, values that are kept, and their bytes by place."""
    async with run_here(_Idle) as mesh:
        replica = mesh.replicas[0]
        with serving_metrics(replica, "127.0.0.1:0") as port:
            replica.values.put("one", Payload(b"x" * 1000))
            response = mesh.handle.wait.remote()
            async with asyncio.timeout(10):
                await replica.context.servable_object.began.wait()
            text = await asyncio.to_thread(_read, port)
            replica.values.release("one")
        response.cancel()
    labels = f'application="{replica.stub.id.app}",deployment="{replica.stub.id.name}"'
    assert f'meshgen_stored_values{{{labels},replica="0"}} 1.0' in text
    assert f'meshgen_stored_bytes{{{labels},place="memory",replica="0"}} 1000.0' in text
    assert f'meshgen_stored_bytes{{{labels},place="disk",replica="0"}} 0.0' in text
    assert f'meshgen_ongoing_requests{{{labels},replica="0"}} 1.0' in text
