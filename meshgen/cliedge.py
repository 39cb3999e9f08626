"""The options of `meshgen run` that say who may call at its ports."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from meshgen.deploy.local import LocalMesh

_OPTIONS = (
    click.option(
        "--auth-token-file",
        type=click.Path(path_type=Path),
        help="Requests need a token of this file, which has one a line. By default they need a "
        "generated one where --host is more than loopback.",
    ),
    click.option("--no-auth", is_flag=True, help="Requests need no token, whatever --host is."),
    click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate, in PEM."),
    click.option("--tls-key", type=click.Path(path_type=Path), help="Its private key, in PEM."),
    click.option(
        "--cors-origin",
        multiple=True,
        metavar="ORIGIN",
        help="Pages of this origin may call; may be given again.",
    ),
)


def edge_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add them to a command, which gets the fields of `EdgeOptions` as `edge`."""

    @wraps(command)
    def with_edge(**given: Any) -> None:
        edge = {
            "auth": False if given.pop("no_auth") else None,
            "auth_token_file": given.pop("auth_token_file"),
            "tls_cert": given.pop("tls_cert"),
            "tls_key": given.pop("tls_key"),
            "cors_origins": given.pop("cors_origin"),
        }
        command(edge=edge, **given)

    made: Callable[..., None] = with_edge
    for option in reversed(_OPTIONS):
        made = option(made)
    return made


def token_advice(mesh: LocalMesh) -> str | None:
    """How to call a mesh whose requests need a token; None where they need none."""
    if mesh.token_file is None:
        return None
    return (
        f"Requests need a token of {mesh.token_file}, for example:\n"
        f'  curl -H "authorization: Bearer $(grep -v ^# {mesh.token_file} | head -1)" '
        f"{mesh.http_address}"
    )
