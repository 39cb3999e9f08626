"""What a client may take of the published ports: sizes, numbers and times, with defaults."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields

from meshgen.errors import OptionError

_PREFIX = "MESHGEN_LIMIT_"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """The limits of HTTP and gRPC. `request_bytes` is set by `MESHGEN_LIMIT_REQUEST_BYTES`."""

    # Of a request's body, or its message.
    request_bytes: int = 64 << 20
    # Of a request's headers, or metadata.
    header_bytes: int = 16 << 10
    # For a handshake, and for a request's headers to be complete.
    head_seconds: float = 10.0
    # For 64 KB of a body over HTTP, or all that is left of it; for the message of gRPC.
    body_seconds: float = 60.0
    # For a connection without requests.
    idle_seconds: float = 90.0
    # For a client to take of its answer what is ready.
    reader_seconds: float = 30.0
    # Open connections, of HTTP and of gRPC each.
    connections: int = 1000
    # RPCs at a time on one connection of gRPC.
    streams: int = 1000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                raise OptionError(f"{limit_variable(field.name)} must be positive, got {value:g}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> EdgeLimits:
        """Read the variables that are set.

        Raises:
            OptionError: A value is no positive number.
        """
        given = {
            field.name: environment[limit_variable(field.name)]
            for field in fields(cls)
            if environment.get(limit_variable(field.name))
        }
        return cls(**{name: _read(name, value) for name, value in given.items()})  # type: ignore[arg-type]  # whole numbers where a field is one


def limit_variable(name: str) -> str:
    """The environment variable of a limit."""
    return f"{_PREFIX}{name.upper()}"


def _read(name: str, value: str) -> float:
    is_time = name.endswith("_seconds")
    try:
        return float(value) if is_time else int(value)
    except ValueError as exc:
        kind = "a number of seconds" if is_time else "a whole number"
        raise OptionError(f"{limit_variable(name)} must be {kind}, got {value!r}") from exc
