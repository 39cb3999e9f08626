"""Options of the mesh as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from meshgen.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPOptions:
    """Where the gateway serves HTTP. Port 0 is any free one, told by `serve.status()`."""

    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        _check_port(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCOptions:
    """Where the gateway serves gRPC, in plain text. Port 0 is any free one; None is no gRPC."""

    host: str = "127.0.0.1"
    port: int | None = None

    def __post_init__(self) -> None:
        if self.port is not None:
            _check_port(self.port)


NO_GRPC = GRPCOptions()


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise OptionError(f"port must be from 0 to 65535, got {port}")
