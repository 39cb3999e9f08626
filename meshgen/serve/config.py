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
        if not 0 <= self.port <= 65535:
            raise OptionError(f"port must be from 0 to 65535, got {self.port}")
