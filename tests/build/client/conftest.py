"""The client of an application with every kind of hint, built once, and a server to call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from meshgen.build.project import Built
from tests.build.client.apps import ECHO, build_client, importable, serving


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server, the package that calls it, and the metadata of each call so far."""

    port: int
    package: ModuleType
    seen: list[dict[str, Any]] = field(default_factory=list)

    @property
    def target(self) -> str:
        """Where it serves."""
        return f"127.0.0.1:{self.port}"

    @property
    def types(self) -> Any:
        """The module of the echoing deployment."""
        return sys.modules[f"{self.package.__name__}.echo"]

    def client(self, **options: Any) -> Any:
        """A client for blocking code."""
        return self.package.ParrotClient(self.target, **options)


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The application's output."""
    return build_client(tmp_path_factory.mktemp("client"), ECHO, "parrot")


@pytest.fixture(scope="package")
def service(built: Built) -> Iterator[Service]:
    """A server that answers for the exposed deployments."""
    module = sys.modules["parrot_app"]
    objects = {"Echo": module.Echo.func_or_class(), "Front": module.Front.func_or_class()}
    exposed = [(made, objects[name]) for name, made in built.contract.exposed.items()]
    seen: list[dict[str, Any]] = []
    with importable(built) as package, serving(exposed, seen=seen) as port:
        yield Service(port=port, package=package, seen=seen)


@pytest.fixture(autouse=True)
def imports_as_before() -> None:
    """Nothing is forgotten here: numpy cannot be imported twice, and applications have names."""
