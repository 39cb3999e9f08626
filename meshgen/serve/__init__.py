"""What users import: `from meshgen import serve`. The names mirror Ray Serve's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from meshgen.serve.context import get_replica_context
from meshgen.serve.deployment import Application, Deployment, deployment
from meshgen.serve.method import method

if TYPE_CHECKING:
    from meshgen.api import (
        delete,
        get_app_handle,
        get_deployment_handle,
        run,
        shutdown,
        start,
        status,
    )

__all__ = [
    "Application",
    "Deployment",
    "delete",
    "deployment",
    "get_app_handle",
    "get_deployment_handle",
    "get_replica_context",
    "method",
    "run",
    "shutdown",
    "start",
    "status",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: a service that only declares deployments needs none of what runs a mesh.
    if name in __all__:
        from meshgen import api

        return getattr(api, name)
    raise AttributeError(f"module 'meshgen.serve' has no attribute {name!r}")
