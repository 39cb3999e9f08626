"""What `serve.status()` tells, in Ray Serve's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ApplicationStatus(StrEnum):
    """What an application is doing; equal to its name as a string."""

    NOT_STARTED = "NOT_STARTED"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DELETING = "DELETING"


class DeploymentStatus(StrEnum):
    """What a deployment is doing; equal to its name as a string."""

    UPDATING = "UPDATING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DEPLOY_FAILED = "DEPLOY_FAILED"


class ReplicaState(StrEnum):
    """What one replica is doing; equal to its name as a string.

    One in BACKOFF has ended and is started again soon. One in CRASH_LOOP has ended too often in a
    row: it is tried again every ten seconds.
    """

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    BACKOFF = "BACKOFF"
    CRASH_LOOP = "CRASH_LOOP"
    FAILED = "FAILED"
    STOPPING = "STOPPING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaStatus:
    """One replica's process. `last_error` is the traceback or exit status it last ended with.

    It stays when the replica serves again, so that `restarts` can be understood. `ongoing_requests`
    is its load; `stored_values` and `stored_bytes` are what it keeps for others; both are half a
    second old at most. `health_failures` counts those of its health check in a row.
    """

    replica_id: str
    state: ReplicaState
    pid: int | None = None
    restarts: int = 0
    last_error: str = ""
    ongoing_requests: int = 0
    health_failures: int = 0
    stored_values: int = 0
    stored_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentStatusOverview:
    """One deployment; `replica_states` counts its replicas by state."""

    status: DeploymentStatus
    message: str = ""
    replica_states: Mapping[str, int] = field(default_factory=dict)
    replicas: tuple[ReplicaStatus, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationStatusOverview:
    """One application; `last_deployed_time_s` is Unix time in seconds."""

    status: ApplicationStatus
    message: str = ""
    last_deployed_time_s: float = 0.0
    route_prefix: str | None = None
    deployments: Mapping[str, DeploymentStatusOverview] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeStatus:
    """All applications of this mesh by name, and where the gateway serves HTTP and gRPC."""

    applications: Mapping[str, ApplicationStatusOverview] = field(default_factory=dict)
    proxies: Mapping[str, str] = field(default_factory=dict)
    http_address: str | None = None
    grpc_address: str | None = None
