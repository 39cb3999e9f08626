"""A mesh under load while its replicas are killed and scaled: `python -m benchmarks.soak`.

A hundred callers make calls of all kinds. Every ten seconds one of the workers' replicas is killed,
and twice they are scaled from two to four and back; other workers are left alone. Afterwards
everything must be as it was before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.soakapp import STEADY, WORKERS, Calls, steady, workers
from benchmarks.soakreport import SoakReport
from benchmarks.soakrun import KINDS, SAVED, SCALES, WAYS, Length, Soak, say
from meshgen.deploy.local import LocalMesh
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.config import HTTPOptions
from meshgen.serve.handle import DeploymentHandle
from meshgen.types import DeploymentID

RESULTS = Path(__file__).parent / "soak.json"
# How long all that the calls have left behind may take to go away.
_QUIET = 15.0


@asynccontextmanager
async def soaking(length: Length) -> AsyncIterator[Soak]:
    """A mesh of two applications, warm; closed afterwards."""
    mesh = LocalMesh(HTTPOptions(port=0), lambda name, line, _: say(f"[{name}] {line}"))
    try:
        await mesh.deploy(build_graph(workers(2), app=WORKERS), None)
        await mesh.deploy(build_graph(steady(), app=STEADY), None)
        network = GrpcNetwork(template=mesh.folder.resolver, name="soak")
        async with MeshCaller(MeshFile(mesh.folder.mesh_file), network) as caller:

            def handle(app: str, name: str) -> DeploymentHandle:
                return DeploymentHandle(caller.find(DeploymentID(app, name)), caller=caller)

            def calls(app: str) -> Calls:
                return Calls(handle(app, "Adder"), handle(app, "Doubler"))

            soak = Soak(
                mesh=mesh,
                front=handle(STEADY, "Front"),
                calls=calls(WORKERS),
                steady=calls(STEADY),
                length=length,
            )
            await _warm_up(soak)
            yield soak
    finally:
        await mesh.close()


async def _warm_up(soak: Soak) -> None:
    """Open every connection there will be."""
    made = [soak.made(way, kind) for way in WAYS for kind in KINDS]
    assert all(await asyncio.gather(*(call(number) for call in made for number in range(50))))


async def _until_quiet(soak: Soak, before: dict[str, int]) -> dict[str, int]:
    """What is held once nothing more goes away; at least a second after the last call."""
    end = time.monotonic() + _QUIET
    while True:
        await asyncio.sleep(1)
        now = await soak.holdings()
        if time.monotonic() > end or all(now[what] <= before[what] for what in before):
            return now


async def run(length: Length) -> SoakReport:
    """The whole soak."""
    async with soaking(length) as soak:
        before = {**await soak.holdings(), "calls that still run": 0, "stored values": 0}
        soak.began = time.monotonic()
        await soak.run()
        seconds = time.monotonic() - soak.began
        return SoakReport(
            seconds=seconds,
            kills=soak.kills,
            scalings=len(SCALES),
            outcomes=soak.outcomes,
            saved=SAVED,
            attacked=WORKERS,
            memory=soak.memory,
            held_before=before,
            held_after=await _until_quiet(soak, before),
        )


def main() -> None:
    """Run it, print the table, write the JSON; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=150.0, help="how long (150)")
    parser.add_argument("--calls", type=int, help="until so many calls have ended, instead")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    arguments = parser.parse_args()
    report = asyncio.run(run(Length(seconds=arguments.seconds, calls=arguments.calls)))
    print(report.text())
    arguments.json.write_text(json.dumps(report.document(), indent=2) + "\n")
    sys.exit(0 if report.kept else 1)


if __name__ == "__main__":
    main()
