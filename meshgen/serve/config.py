"""Options of the mesh as a whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meshgen.errors import OptionError

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^/\s]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class HTTPOptions:
    """Where the gateway serves HTTP. Port 0 is any free one, told by `serve.status()`."""

    host: str = "127.0.0.1"
    port: int = 8000

    def __post_init__(self) -> None:
        _check_port(self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class GRPCOptions:
    """Where the gateway serves gRPC. Port 0 is any free one; None is no gRPC."""

    host: str = "127.0.0.1"
    port: int | None = None

    def __post_init__(self) -> None:
        if self.port is not None:
            _check_port(self.port)


NO_GRPC = GRPCOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeOptions:
    """Who may call at both of the gateway's ports, and how.

    `auth` says whether requests need a token: by default where a token file is given, or a port is
    bound to more than loopback. Without a file, one is made.
    """

    auth: bool | None = None
    auth_token_file: str | Path | None = None
    tls_cert: str | Path | None = None
    tls_key: str | Path | None = None
    cors_origins: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.auth is False and self.auth_token_file is not None:
            raise OptionError(
                "a token file is given (--auth-token-file), and auth is off (--no-auth): choose one"
            )
        if isinstance(self.cors_origins, str):
            raise OptionError("cors_origins must be a list of origins")
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise OptionError(
                    f"{origin!r} is no origin; give scheme and host, such as https://shop.example"
                )


OPEN = EdgeOptions()


def _check_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise OptionError(f"port must be from 0 to 65535, got {port}")
