"""Who may call whom in a mesh, and as whom its certificates speak.

meshgen://hello/language-classifier            a service, or the gateway
meshgen://hello/clients/dora?may_call=Stock    somebody outside, by `meshgen certs issue`
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from meshgen.spec import MeshSpec
from meshgen.tasks.home import TASKS
from meshgen.types import DeploymentID

SCHEME = "meshgen"
GATEWAY = "gateway"
# In a client's certificate: every deployment there is.
EVERYTHING = "*"
_CLIENTS = "clients"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One who holds a certificate: a service, or a client with what it may call beyond what
    everybody outside may."""

    project: str
    name: str
    is_client: bool = False
    may_call: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"the client {self.name}" if self.is_client else self.name

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        if not self.is_client:
            return f"{SCHEME}://{self.project}/{self.name}"
        query = urlencode([("may_call", each) for each in sorted(self.may_call)])
        path = f"{SCHEME}://{self.project}/{_CLIENTS}/{quote(self.name, safe='')}"
        return f"{path}?{query}" if query else path


def read_identity(uris: Iterable[str]) -> Identity | None:
    """The identity among the names in a certificate; None if there is none."""
    for uri in uris:
        parts = urlsplit(uri)
        if parts.scheme != SCHEME:
            continue
        names = parts.path.strip("/").split("/")
        if len(names) == 1 and names[0]:
            return Identity(project=parts.netloc, name=names[0])
        if len(names) == 2 and names[0] == _CLIENTS:
            may_call = frozenset(parse_qs(parts.query).get("may_call", ()))
            return Identity(project=parts.netloc, name=names[1], is_client=True, may_call=may_call)
    return None


def may_call(mesh: MeshSpec, identity: Identity, deployment: DeploymentID) -> bool:
    """Whether the edges of a mesh lead from who has the identity to the deployment."""
    if identity.is_client:
        named = {EVERYTHING, deployment.name, str(deployment)}
        return bool(identity.may_call & named) or _is_public(mesh, deployment)
    if identity.name == GATEWAY:
        return _is_public(mesh, deployment)
    return identity.name in _callers(mesh, deployment)


def _is_public(mesh: MeshSpec, deployment: DeploymentID) -> bool:
    """Whether the gateway serves it."""
    app = mesh.apps.get(deployment.app)
    if app is None:
        return False
    is_ingress = deployment.name == app.ingress and app.route_prefix is not None
    return is_ingress or deployment.name in app.typed


def _callers(mesh: MeshSpec, deployment: DeploymentID) -> set[str]:
    """The services with an edge to a deployment.

    What tasks call follows from what they are given, so theirs lead everywhere; and everybody may
    have tasks done.
    """
    if deployment == TASKS:
        return {stub.service for app in mesh.apps.values() for stub in app.stubs.values()}
    app = mesh.apps.get(deployment.app)
    if app is None:
        return set()
    callers = [name for name, callees in app.edges.items() if deployment.name in callees]
    tasks = [TASKS.name] if TASKS.app in mesh.apps else []
    return {*(app.stubs[name].service for name in callers), *tasks}
