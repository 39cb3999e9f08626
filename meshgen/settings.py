"""How a service process is told where it is: `MESHGEN_*` variables, the same in every target."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from meshgen.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's place in its mesh. `mesh_file` is set by `MESHGEN_MESH_FILE`, and so on.

    `resolver` says how replicas are found: `unix:FOLDER`, where each service has a folder with one
    socket for each replica, `dns:{service}:50051`, a name with one address for each, or
    `compose:PROJECT/{service}:50051`, containers of this machine.
    """

    # Where mesh.json is.
    mesh_file: Path
    resolver: str
    # The folder of this service's service.json; none for the gateway.
    service_dir: Path | None = None
    # What this replica binds: `unix:PATH` or `HOST:PORT`.
    listen: str = ""
    # Unique in its deployment. A container is given none, and has a host name of its own.
    replica_id: str = field(default_factory=socket.gethostname)
    # Plain grpc.health.v1 on a thread of its own, as `HOST:PORT`; empty for none.
    health: str = ""
    # Folder with ca.pem, cert.pem and key.pem; None for a mesh of Unix sockets.
    certs: Path | None = None
    # Bytes of values that are kept in memory for other processes (None: 512 MB), and the folder for
    # what is beyond that (None: the system's temporary one).
    object_store_memory: int | None = None
    spill_dir: Path | None = None
    # Where Prometheus finds this process's metrics, as `HOST:PORT`; empty for nowhere.
    metrics: str = ""
    # The gateway's HTTP address.
    http_host: str = "127.0.0.1"
    http_port: int = 8000
    # Its gRPC address, port 0 for any free one; -1 is no gRPC.
    grpc_host: str = "127.0.0.1"
    grpc_port: int = -1
    # Whether requests need a token of the file: `always`, `never`, or by default where an address
    # above is not loopback; in a container, where the one that the host publishes it on is not.
    auth: str = ""
    auth_token_file: Path | None = None
    published_on: str = ""
    # The certificate and key that both are served with, in PEM; none for plain text.
    tls_cert: Path | None = None
    tls_key: Path | None = None
    # Whose pages may call from a browser, apart by spaces.
    cors_origins: str = ""
    # A listening socket that the supervisor has bound already, in place of host and port.
    http_fd: int = -1
    # File descriptor that ends when the supervisor does, and one to report the phase on.
    lifeline_fd: int = -1
    report_fd: int = -1

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables that are set.

        Raises:
            OptionError: A required one is missing or a value cannot be read.
        """
        found = {
            field.name: environment[variable(field.name)]
            for field in fields(cls)
            if environment.get(variable(field.name))
        }
        for required in ("mesh_file", "resolver"):
            if required not in found:
                raise OptionError(f"{variable(required)} is not set: this process has no mesh")
        return cls(**{name: _read(name, value) for name, value in found.items()})

    def environment(self) -> dict[str, str]:
        """The variables that `from_environment` would read these settings from."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            variable(name): str(value) for name, value in given.items() if value not in (None, "")
        }


_PATHS = {"mesh_file", "service_dir", "certs", "spill_dir"}
_PATHS |= {"auth_token_file", "tls_cert", "tls_key"}
_NUMBERS = {"http_port", "grpc_port", "http_fd", "lifeline_fd", "report_fd", "object_store_memory"}


def _read(name: str, value: str) -> Any:
    if name in _PATHS:
        return Path(value)
    if name not in _NUMBERS:
        return value
    try:
        return int(value)
    except ValueError as exc:
        raise OptionError(f"{variable(name)} must be a whole number, got {value!r}") from exc


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"MESHGEN_{name.upper()}"


def socket_folder(root: Path, app: str, service: str) -> Path:
    """Where the sockets of a service's replicas are, below the folder of a local mesh.

    The path of a Unix socket has about a hundred bytes: long names are cut and told apart by hash.
    """
    return root / "sockets" / _short(app) / _short(service)


def leaving_mark(socket: Path) -> Path:
    """The file beside a replica's socket that says that it takes no new callers."""
    return socket.with_suffix(".leaving")


def _short(name: str) -> str:
    if len(name) <= 20:
        return name
    return f"{name[:11]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
