"""Ten times as many calls as a deployment can run: `python -m benchmarks.overload`.

First as many callers as there are slots, which is its peak; then calls at ten times that rate,
whether or not those before are answered: by the handle of one process, by those of several that
compete, and over HTTP.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.flood import GROWTH, KEEPS, REFUSED_MS, Ask, Figures, measure
from benchmarks.httpclient import Client
from benchmarks.report import describe_machine
from meshgen import serve
from meshgen.deploy.local import LocalMesh
from meshgen.errors import BackPressureError
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.config import HTTPOptions
from meshgen.serve.handle import DeploymentHandle

RESULTS = Path(__file__).parent / "overload.json"
_SLOTS = 10
_QUEUED = 20
_CALLERS = 5
# How long one call works, by the way it comes: who makes all these calls needs the same two cores.
_WORK = {"handle": 0.02, "http": 0.2}


class Worker:
    """Works, and counts how much it does at a time."""

    def __init__(self) -> None:
        self.ongoing = 0
        self.most = 0

    async def work(self, seconds: float) -> None:
        """Take so long."""
        self.ongoing += 1
        self.most = max(self.most, self.ongoing)
        try:
            await asyncio.sleep(seconds)
        finally:
            self.ongoing -= 1

    async def __call__(self, request: Any) -> str:
        """The same over HTTP."""
        await self.work(_WORK["http"])
        return "done"

    async def most_at_a_time(self) -> int:
        """How many calls there were at the worst, this one left out."""
        return self.most


async def by_handle(handles: Iterator[DeploymentHandle]) -> bool:
    """A call by the next handle: answered, or refused by that one's router."""
    try:
        await next(handles).work.remote(_WORK["handle"])
    except BackPressureError:
        return False
    return True


@asynccontextmanager
async def overloaded() -> AsyncIterator[tuple[list[DeploymentHandle], Client]]:
    """One replica with few slots: handles of several callers, and a client of its gateway."""
    worker = serve.deployment(max_ongoing_requests=_SLOTS, max_queued_requests=_QUEUED)(Worker)
    graph = build_graph(worker.bind(), app="overload")
    mesh = LocalMesh(HTTPOptions(port=0), _print_error)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(mesh.close)
        await mesh.deploy(graph, "/")
        handles = []
        for number in range(_CALLERS):
            network = GrpcNetwork(template=mesh.folder.resolver, name=f"caller {number}")
            caller = MeshCaller(MeshFile(mesh.folder.mesh_file), network)
            await stack.enter_async_context(caller)
            handles.append(DeploymentHandle(graph.ingress.stub, caller=caller))
        address = urlsplit(mesh.http_address or "")
        client = Client(address.hostname or "", address.port or 0)
        stack.push_async_callback(client.close)
        yield handles, client


def _print_error(name: str, line: str, is_error: bool) -> None:
    """All but the gateway's log of what it refused."""
    if is_error and name != "gateway":
        print(f"[{name}] {line}", file=sys.stderr)


async def run(seconds: float) -> dict[str, Figures]:
    """Every way to call."""
    async with overloaded() as (handles, client):
        ways: dict[str, Ask] = {
            "one caller": partial(by_handle, itertools.cycle(handles[:1])),
            f"{_CALLERS} callers": partial(by_handle, itertools.cycle(handles)),
            "HTTP": client.ask,
        }
        found = {name: await measure(ask, _SLOTS, seconds) for name, ask in ways.items()}
        most = await handles[0].most_at_a_time.remote()
        assert most <= _SLOTS, f"the replica ran {most} calls at a time"
        return found


def table(found: dict[str, Figures]) -> str:
    """The figures for a terminal."""
    rows = [
        ("peak, calls/s", "peak", "{:,.0f}"),
        ("offered", "offered", "{:,.0f}"),
        (f"answered (≥ {KEEPS:.0%} of the peak)", "answered", "{:,.0f}"),
        ("refused", "refused", "{:,.0f}"),
        ("refusal, p50 ms", "refusal_p50_ms", "{:.1f}"),
        (f"refusal, p99 ms (≤ {REFUSED_MS:g})", "refusal_p99_ms", "{:.1f}"),
        ("MB after a second", "mb_after_a_second", "{:.1f}"),
        (f"MB at the end (≤ × {GROWTH:g})", "mb_at_the_end", "{:.1f}"),
    ]
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---:|' * len(found)}"]
    for what, name, form in rows:
        cells = (form.format(getattr(each, name)) for each in found.values())
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (10)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    arguments = parser.parse_args()
    found = asyncio.run(run(arguments.seconds))
    print(table(found))
    document = {
        "machine": describe_machine(),
        **{way: {**asdict(figures), "kept": figures.kept} for way, figures in found.items()},
    }
    arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    sys.exit(0 if all(figures.kept for figures in found.values()) else 1)


if __name__ == "__main__":
    main()
