"""Says in a local mesh, where nobody checks edges, which calls a built one would refuse."""

from __future__ import annotations

import logging
from collections.abc import Callable

from meshgen.edges import Identity, may_call
from meshgen.errors import MeshError
from meshgen.spec import MeshSpec
from meshgen.stub import DeploymentStub

logger = logging.getLogger("meshgen")


class EdgeWatch:
    """Looks at whom one deployment calls. Calls of other applications are left alone: a built mesh
    has one."""

    def __init__(self, caller: DeploymentStub, mesh: Callable[[], MeshSpec]) -> None:
        self._caller = caller
        self._mesh = mesh

    def called(self, callee: DeploymentStub) -> None:
        """It calls a deployment for the first time."""
        caller = self._caller
        if callee.id.app != caller.id.app:
            return
        identity = Identity(project=caller.id.app, name=caller.service)
        try:
            is_edge = may_call(self._mesh(), identity, callee.id)
        except MeshError:  # the mesh is gone, as the call will say
            return
        if not is_edge:
            logger.warning(
                "%s calls %s by a handle that its constructor was not given: a built mesh would "
                "refuse that, unless @serve.deployment(may_call=[%r]) declares it",
                *(caller.id, callee.id, callee.id.name),
            )
