"""Where a program without a deployment keeps the values that it puts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from meshgen.arguments import Arguments
from meshgen.runtime.network import Network
from meshgen.runtime.replica import Home, Replica
from meshgen.runtime.store import ReplicaStore
from meshgen.serve.options import DeploymentOptions
from meshgen.spec import ServiceSpec, Target
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID

# No application has this name.
_NOBODY = ""


def driver_stub(owner: DeploymentID) -> DeploymentStub | None:
    """The stub of a driver by its name; None where that is a deployment's."""
    return DeploymentStub(id=owner, service=owner.name) if owner.app == _NOBODY else None


@asynccontextmanager
async def driver_store(network: Network, caller: Home) -> AsyncIterator[ReplicaStore]:
    """A replica that takes no calls, but keeps values for the other processes of the mesh."""
    name = f"driver-{os.getpid()}"
    spec = ServiceSpec(
        stub=DeploymentStub(id=DeploymentID(_NOBODY, name), service=name),
        target=Target(path="builtins:object"),
        arguments=Arguments(),
        options=DeploymentOptions(),
    )
    replica = Replica(spec, caller, "0")
    async with network.hosting(replica) as address:
        replica.store.address = address
        yield replica.store
    await replica.close()
