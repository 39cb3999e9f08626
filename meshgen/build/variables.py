"""The numbers of compose.yaml that the environment or `.env` can override."""

from __future__ import annotations

from dataclasses import dataclass

from meshgen.build.certs import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One of them, with its default and what it is for."""

    name: str
    default: str
    meaning: str

    @property
    def reference(self) -> str:
        """As Compose substitutes it."""
        return f"${{{self.name}:-{self.default}}}"


def common_variables(owner: Owner, python: str) -> list[Variable]:
    """Those that do not belong to one service."""
    return [
        Variable(name="HTTP_PORT", default="8000", meaning="port of the HTTP gateway"),
        Variable(name="GRPC_PORT", default="9000", meaning="port of the gRPC gateway"),
        Variable(
            name="BIND",
            default="127.0.0.1",
            meaning="address of this machine that both ports are on; beyond loopback, "
            "requests need a token of certs/gateway/tokens",
        ),
        Variable(
            name="AUTH",
            default="",
            meaning="always: requests need a token on loopback too; never: nowhere",
        ),
        Variable(
            name="CORS_ORIGINS",
            default="",
            meaning="whose pages may call, such as https://shop.example; apart by spaces",
        ),
        Variable(
            name="START_PERIOD",
            default="60s",
            meaning="how long a replica may take to construct before it counts as unhealthy",
        ),
        Variable(
            name="MESHGEN_UID",
            default=str(owner.uid),
            meaning="user that containers run as and that owns certs/*/key.pem; "
            "0 for an engine that runs rootless",
        ),
        Variable(name="MESHGEN_GID", default=str(owner.gid), meaning="its group"),
        Variable(
            name="PYTHON_IMAGE",
            default=f"python:{python}-slim",
            meaning="base image; keep its Python version, as pickles depend on it",
        ),
        Variable(
            name="BUILD_PACKAGES",
            default="",
            meaning="Debian packages to compile requirements with; not in the final image",
        ),
    ]
