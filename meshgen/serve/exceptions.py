"""Errors under the names that Ray Serve's users know."""

from meshgen.errors import BackPressureError, MeshError, RequestCancelledError
from meshgen.errors import ReplicaLostError as ReplicaUnavailableError
from meshgen.errors import UnavailableError as DeploymentUnavailableError

RayServeException = MeshError

__all__ = [
    "BackPressureError",
    "DeploymentUnavailableError",
    "RayServeException",
    "ReplicaUnavailableError",
    "RequestCancelledError",
]
