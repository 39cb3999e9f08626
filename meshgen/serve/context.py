"""Where code finds itself: the process's caller, the replica it runs in, the request it serves."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from meshgen.errors import NotServingError
from meshgen.types import Caller, RequestContext, Store

# The request that the running code serves.
current_request: ContextVar[RequestContext | None] = ContextVar("current_request", default=None)

# The caller of code that runs in a mesh of this very process (`meshgen.testing`).
scoped_caller: ContextVar[Caller | None] = ContextVar("scoped_caller", default=None)

# Who keeps the values that this code puts, where that is not up to the process.
scoped_store: ContextVar[Store | None] = ContextVar("scoped_store", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaContext:
    """Which replica the running code belongs to."""

    app_name: str
    deployment: str
    replica_tag: str
    servable_object: Any = None

    @property
    def replica_id(self) -> str:
        """The replica's id, unique in its deployment."""
        return self.replica_tag


current_replica: ContextVar[ReplicaContext | None] = ContextVar("current_replica", default=None)


class _Process:
    """What belongs to the process as a whole.

    Module state, and the only one: a handle that is unpickled, or a thread that user code starts,
    has no other way to its process's mesh.
    """

    caller: Caller | None = None
    replica: ReplicaContext | None = None
    store: Store | None = None


process = _Process()


def current_caller() -> Caller:
    """Whoever carries out calls here.

    Raises:
        NotServingError: No mesh runs in or is served by this process.
    """
    scoped = scoped_caller.get()
    caller = process.caller if scoped is None else scoped
    if caller is None:
        raise NotServingError(
            "no mesh runs in this process: call serve.run(app) before using a handle"
        )
    return caller


def get_replica_context() -> ReplicaContext:
    """The replica that runs this code.

    Raises:
        NotServingError: This code does not run in a deployment.
    """
    context = current_replica.get() or process.replica
    if context is None:
        raise NotServingError("get_replica_context() works inside of a deployment only")
    return context
