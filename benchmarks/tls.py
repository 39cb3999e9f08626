"""The echo behind mutual TLS on loopback TCP, as between the services of a built mesh."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.measure import Figures, measure
from benchmarks.mesh import echo_deployment, handle_subject
from benchmarks.plan import Plan
from benchmarks.serverprocess import server_process
from meshgen.build.certs import Owner, write_certificates
from meshgen.edges import Identity
from meshgen.graph import build_graph
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.certificates import Certificates
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import MeshSpec, ServiceSpec, app_spec, service_specs
from meshgen.specfiles import write_mesh

_GRAPH = build_graph(echo_deployment.bind(), app="tls")
_STUB = _GRAPH.ingress.stub


def prepare(folder: Path) -> None:
    """Write the mesh's file, an authority, and a key pair for the echo and for its caller."""
    write_mesh(MeshSpec(apps={"tls": app_spec(_GRAPH, None)}), folder / "mesh.json")
    identities = [Identity(project="tls", name=service) for service in (_STUB.service, "caller")]
    owner = Owner(uid=os.getuid(), gid=os.getgid())
    write_certificates(folder / "certs", identities, owner)


def _certificates(folder: Path, service: str) -> Certificates:
    certs = folder / "certs"
    return Certificates(
        ca=(certs / "ca.pem").read_bytes(),
        cert=(certs / service / "cert.pem").read_bytes(),
        key=(certs / service / "key.pem").read_bytes(),
    )


def _caller(folder: Path, address: str, service: str) -> MeshCaller:
    network = GrpcNetwork(
        template=f"dns:{address}", name=service, certificates=_certificates(folder, service)
    )
    return MeshCaller(MeshFile(folder / "mesh.json"), network)


async def _serve(ready: Connection, folder: Path) -> None:
    spec: ServiceSpec = service_specs(_GRAPH)[0]
    async with _caller(folder, "127.0.0.1:1", _STUB.service) as caller:
        replica = Replica(spec, caller, "0")
        await replica.start(caller.find)
        async with serving(replica, "127.0.0.1:0", _certificates(folder, _STUB.service)) as address:
            ready.send(address)
            await asyncio.Event().wait()


def serve(ready: Connection, folder: Path) -> None:
    """Run the replica in this process; says its address when it serves."""
    asyncio.run(_serve(ready, folder))


@contextmanager
def tls_server(folder: Path) -> Iterator[str]:
    """A replica in a process of its own; gives its address."""
    prepare(folder)
    with server_process(serve, folder) as address:
        yield address


def measure_tls(folder: Path, address: str, plan: Plan) -> Figures:
    """One round of calls from this process's own event loop."""
    return asyncio.run(_measure(folder, address, plan))


async def _measure(folder: Path, address: str, plan: Plan) -> Figures:
    async with _caller(folder, address, "caller") as caller:
        return await measure(handle_subject(DeploymentHandle(_STUB, caller=caller)), plan)
