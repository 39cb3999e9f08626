"""How a service process is told where it is: `MESHGEN_*` variables, the same in every target."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from meshgen.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One process's place in its mesh. `mesh_file` is set by `MESHGEN_MESH_FILE`, and so on.

    `resolver` is a template for the address of a service: `unix:/run/x/{app}/{service}`, a folder
    with one socket for each replica, or `dns:{service}:50051`, a name with one address for each.
    """

    # Where mesh.json is.
    mesh_file: Path
    resolver: str
    # The folder of this service's service.json; none for the gateway.
    service_dir: Path | None = None
    # What this replica binds: `unix:PATH` or `HOST:PORT`.
    listen: str = ""
    replica_id: str = "0"
    # Plain grpc.health.v1 on a thread of its own, as `HOST:PORT`; empty for none.
    health: str = ""
    # Folder with ca.pem, cert.pem and key.pem; None for a mesh of Unix sockets.
    certs: Path | None = None
    # The gateway's HTTP address.
    http_host: str = "127.0.0.1"
    http_port: int = 8000
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
        read = {name: _READERS.get(name, str)(value) for name, value in found.items()}
        return cls(**read)

    def environment(self) -> dict[str, str]:
        """The variables that `from_environment` would read these settings from."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            variable(name): str(value) for name, value in given.items() if value not in (None, "")
        }


_READERS = {
    "mesh_file": Path,
    "service_dir": Path,
    "certs": Path,
    "http_port": int,
    "lifeline_fd": int,
    "report_fd": int,
}


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"MESHGEN_{name.upper()}"
