"""Who may call a replica: its peers' certificates beside the edges of the mesh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from meshgen.edges import Identity, may_call, read_identity
from meshgen.errors import PermissionDeniedError
from meshgen.spec import MeshSpec
from meshgen.types import DeploymentID

# In `context.auth_context()`: DNS names and URIs alike.
_NAMES = "x509_subject_alternative_name"


class Gate:
    """Lets through who has an edge to a deployment.

    A peer is who its certificate says. That it is one of this mesh's authority was checked before,
    by TLS.
    """

    def __init__(self, deployment: DeploymentID, mesh: Callable[[], MeshSpec]) -> None:
        self._deployment = deployment
        self._mesh = mesh

    def refusal(self, context: Any) -> PermissionDeniedError | None:
        """Why the peer of an RPC may not call; None if it may."""
        names = context.auth_context().get(_NAMES, ())
        identity = read_identity(name.decode(errors="replace") for name in names)
        if identity is not None and may_call(self._mesh(), identity, self._deployment):
            return None
        return PermissionDeniedError(_sentence(identity, self._deployment))

    async def check(self, context: Any) -> None:
        """End an RPC of a peer that may not call."""
        if (refusal := self.refusal(context)) is not None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(refusal))


class _Open(Gate):
    """Where all processes belong to one user, and no certificates tell them apart."""

    def __init__(self) -> None:
        pass

    def refusal(self, context: Any) -> None:
        """Everybody may call."""


OPEN = _Open()


def _sentence(identity: Identity | None, deployment: DeploymentID) -> str:
    if identity is None:
        return (
            f"a peer whose certificate names no member of this mesh may not call {deployment}: "
            "use one that meshgen made"
        )
    if identity.is_client:
        return (
            f"{identity} may not call {deployment}: issue it a certificate that says so "
            f"(meshgen certs issue OUT {identity.name} --may-call {deployment.name})"
        )
    return (
        f"{identity} may not call {deployment}: no edge of this mesh leads there. Give its "
        "constructor the handle (.bind), or declare the edge on the caller: "
        f"@serve.deployment(may_call=[{deployment.name!r}]), and build again"
    )
