"""A built mesh that runs in Docker Compose, for tests."""

from __future__ import annotations

import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from meshgen.build.loader import load_target
from meshgen.build.project import build_project
from tests.ports import free_ports


class ComposeError(Exception):
    """`docker compose` failed; the message is what it printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposeMesh:
    """One project of ours: its folder, its name, and the ports of its gateway."""

    folder: Path
    project: str
    port: int
    grpc_port: int = 0

    @property
    def url(self) -> str:
        """Where the gateway answers."""
        return f"http://127.0.0.1:{self.port}"

    def http(self, path: str = "/", body: Any = None) -> httpx.Response:
        """POST a JSON body, or GET where there is none."""
        method = "GET" if body is None else "POST"
        return httpx.request(method, f"{self.url}{path}", json=body, timeout=30)

    def compose(self, *arguments: str, timeout: float = 300) -> str:
        """Run `docker compose ARGUMENTS` on this project; returns what it printed."""
        return run("docker", "compose", *arguments, cwd=self.folder, timeout=timeout)

    def up(self, *arguments: str) -> None:
        """Bring it up and wait until every container is healthy."""
        try:
            self.compose("up", "-d", "--wait", "--wait-timeout", "180", *arguments, timeout=900)
        except ComposeError as exc:
            logs = self.compose("logs", "--no-color", "--tail", "100")
            raise ComposeError(f"{exc}\n{logs}") from None

    def scale(self, service: str, replicas: int) -> None:
        """Run so many replicas of a service, and wait until all are healthy."""
        self.up("--no-recreate", "--scale", f"{service}={replicas}")

    def down(self) -> None:
        """Remove its containers, networks, volumes and images."""
        self.compose("down", "-v", "--remove-orphans", "--timeout", "5", "--rmi", "all")

    def image(self, service: str) -> str:
        """The image that a service runs."""
        container = self.compose("ps", "-q", service).split()[0]
        return self.docker("inspect", "--format", "{{.Config.Image}}", container).strip()

    def docker(self, *arguments: str) -> str:
        """Run `docker ARGUMENTS`; returns what it printed."""
        return run("docker", *arguments)


def build_mesh(target: str, folder: Path) -> ComposeMesh:
    """Build an application under a name of its own, on ports that are free now."""
    name = f"test-{folder.name}-{secrets.token_hex(3)}"
    built = build_project(load_target(target, name=name), folder / "out")
    port, grpc_port = free_ports(2)
    (built.out / ".env").write_text(f"HTTP_PORT={port}\nGRPC_PORT={grpc_port}\n")
    return ComposeMesh(folder=built.out, project=built.plan.project, port=port, grpc_port=grpc_port)


def run(*command: str, cwd: Path | None = None, timeout: float = 300) -> str:
    """Run a command to its end; returns its standard output.

    Raises:
        ComposeError: It failed.
    """
    ran = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=timeout)
    if ran.returncode != 0:
        raise ComposeError(f"{' '.join(command)} exited {ran.returncode}:\n{ran.stderr[-4000:]}")
    return ran.stdout
