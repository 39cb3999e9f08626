"""The files that the published ports are to be served with: read once before anything starts."""

from __future__ import annotations

from pathlib import Path

from meshgen.edgelimits import EdgeLimits
from meshgen.serve.config import EdgeOptions
from meshgen.tlsfiles import tls_files
from meshgen.tokenfile import read_tokens


def check_edge(edge: EdgeOptions) -> None:
    """See that a gateway can serve so.

    Raises:
        OptionError: A file cannot be used, or a limit in the environment is none.
    """
    EdgeLimits.from_environment()
    if edge.auth_token_file is not None:
        read_tokens(Path(edge.auth_token_file))
    tls = tls_files(_path(edge.tls_cert), _path(edge.tls_key))
    if tls is not None:
        tls.check()


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)
