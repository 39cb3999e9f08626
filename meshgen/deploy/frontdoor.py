"""The side of a local mesh that others see: its ports and the gateway's process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from meshgen.deploy.child import Child
from meshgen.deploy.command import Command
from meshgen.deploy.folder import child_environment
from meshgen.deploy.generation import Nursery
from meshgen.errors import DeployError
from meshgen.listener import bind, is_loopback, reserve
from meshgen.serve.config import OPEN, EdgeOptions, GRPCOptions, HTTPOptions
from meshgen.serve.schema import ReplicaState
from meshgen.tokenfile import write_new_token

_MODULE = "meshgen.runtime.gateway"


class FrontDoor:
    """Owns the socket of HTTP, which every process of the gateway gets, and one that holds the port
    of gRPC; keeps a gateway running."""

    def __init__(
        self, http: HTTPOptions, grpc: GRPCOptions, nursery: Nursery, edge: EdgeOptions = OPEN
    ) -> None:
        self._http = http
        self._grpc = grpc
        self._edge = edge
        self._nursery = nursery
        self._listener: socket.socket | None = None
        self._grpc_holder: socket.socket | None = None
        self._child: Child | None = None
        # Of the tokens that requests need; None where they need none, or nothing is served yet.
        self.token_file: Path | None = None

    @property
    def address(self) -> str | None:
        """Where HTTP is served, as `http://HOST:PORT`."""
        if self._listener is None:
            return None
        scheme = "http" if self._edge.tls_cert is None else "https"
        return f"{scheme}://{_authority(self._listener)}"

    @property
    def grpc_address(self) -> str | None:
        """Where gRPC is served, as `HOST:PORT`."""
        return None if self._grpc_holder is None else _authority(self._grpc_holder)

    @property
    def health(self) -> dict[str, str]:
        """What `serve.status()` says of the gateway, if there is one."""
        if self._child is None:
            return {}
        running = self._child.state is ReplicaState.RUNNING
        return {"gateway": "HEALTHY" if running else "UNHEALTHY"}

    def listen(self) -> None:
        """Take the ports before any process starts.

        Raises:
            DeployError: One is taken.
        """
        if self._listener is None:
            self._listener = bind(self._http.host, self._http.port)
        if self._grpc_holder is None and self._grpc.port is not None:
            self._grpc_holder = reserve(self._grpc.host, self._grpc.port)
        if self.token_file is None and self._needs_token():
            self.token_file = self._find_tokens()

    def _needs_token(self) -> bool:
        if self._edge.auth is not None or self._edge.auth_token_file is not None:
            return self._edge.auth is not False
        bound = [each for each in (self._listener, self._grpc_holder) if each is not None]
        return not all(is_loopback(each.getsockname()[0]) for each in bound)

    def _find_tokens(self) -> Path:
        if self._edge.auth_token_file is not None:
            return Path(self._edge.auth_token_file).resolve()
        made = self._nursery.folder.path / "token"
        write_new_token(made)
        self._nursery.on_line("gateway", f"requests need the token in {made}", False)
        return made

    def open(self) -> None:
        """Start the gateway, unless it was started."""
        if self._child is None:
            assert self._listener is not None
            self._child = self._make(self._listener.fileno())
            self._child.start()

    def _make(self, descriptor: int) -> Child:
        nursery = self._nursery
        settings = nursery.folder.settings(
            http_fd=descriptor,
            lifeline_fd=nursery.lifeline_fd,
            **self._grpc_settings(),
            **self._edge_settings(),
        )
        command = Command(
            name="gateway",
            module=_MODULE,
            environment=child_environment(settings, {}),
            descriptors=(descriptor, nursery.lifeline_fd),
        )
        return Child(command, nursery.on_line, nursery.on_change)

    def _grpc_settings(self) -> dict[str, object]:
        if self._grpc_holder is None:
            return {}
        host, port = self._grpc_holder.getsockname()[:2]
        return {"grpc_host": host, "grpc_port": port}

    def _edge_settings(self) -> dict[str, object]:
        edge = self._edge
        return {
            "auth": "never" if self.token_file is None else "always",
            "auth_token_file": self.token_file,
            "tls_cert": edge.tls_cert,
            "tls_key": edge.tls_key,
            "cors_origins": " ".join(edge.cors_origins),
        }

    async def until_open(self, changed: asyncio.Condition) -> None:
        """Wait for the gateway, if it was started.

        Raises:
            DeployError: It did not start.
        """
        if self._child is None:
            return
        async with changed:
            while self._child.state is not ReplicaState.RUNNING:
                if self._child.state is ReplicaState.FAILED:
                    raise DeployError(f"the gateway did not start: {self._child.last_error}")
                await changed.wait()

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop the gateway; the socket still takes connections, which nobody answers."""
        if self._child is not None:
            await self._child.stop(at_once=at_once)

    def kill(self) -> None:
        """End the gateway at once."""
        if self._child is not None:
            self._child.kill()

    def close(self) -> None:
        """Give the ports back."""
        for each in (self._listener, self._grpc_holder):
            if each is not None:
                each.close()


def _authority(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
