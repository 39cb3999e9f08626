"""Who exists: the addresses of a service's replicas, asked of the platform again and again."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Protocol

from meshgen.errors import OptionError
from meshgen.settings import leaving_mark, socket_folder
from meshgen.stub import DeploymentStub


class Resolver(Protocol):
    """Looks up the replicas of one service. `period` is how often, in seconds."""

    period: float

    async def addresses(self) -> list[str]:
        """Their addresses now, as gRPC takes them; none if there are none."""


class FolderResolver:
    """Local processes: a folder that holds one Unix socket for each replica."""

    period = 0.1

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def addresses(self) -> list[str]:
        """The sockets that are there, but for those of replicas that leave."""
        try:
            found = {self._folder / name for name in os.listdir(self._folder)}
        except (FileNotFoundError, NotADirectoryError):
            return []
        sockets = sorted(path for path in found if path.suffix == ".sock")
        return [f"unix:{path}" for path in sockets if leaving_mark(path) not in found]


class DnsResolver:
    """Containers: a name with one address for each replica (Compose, Swarm's `tasks.NAME`,
    Kubernetes' headless services)."""

    period = 0.5

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def addresses(self) -> list[str]:
        """What the name resolves to."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError):  # unknown, or nothing that DNS could know
            return []
        pairs = sorted({(family, str(address[0])) for family, _, _, _, address in found})
        return [
            f"ipv6:[{host}]:{self._port}" if family == socket.AF_INET6 else f"{host}:{self._port}"
            for family, host in pairs
        ]


def make_resolver(template: str, stub: DeploymentStub) -> Resolver:
    """The resolver of one deployment, by `Settings.resolver`.

    Raises:
        OptionError: The template is none of `unix:FOLDER`, `dns:HOST:PORT` and
            `compose:PROJECT/SERVICE:PORT`.
    """
    scheme, _, rest = template.partition(":")
    if scheme == "unix":
        return FolderResolver(socket_folder(Path(rest), stub.id.app, stub.service))
    host, _, port = rest.replace("{service}", stub.service).rpartition(":")
    if scheme == "dns" and host and port.isdecimal():
        return DnsResolver(host, int(port))
    project, _, service = host.partition("/")
    if scheme == "compose" and project and service and port.isdecimal():
        # Imported where a program outside of the mesh asks for it.
        from meshgen.runtime.composeresolver import ComposeResolver

        return ComposeResolver(project, service, int(port))
    raise OptionError(
        f"cannot find replicas by {template!r}: expected unix:FOLDER, dns:HOST:PORT or "
        "compose:PROJECT/SERVICE:PORT"
    )
