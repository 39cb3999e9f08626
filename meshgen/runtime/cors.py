"""Calls from the pages of other origins: what browsers ask before they let those happen."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

# What a page may read of an answer, beyond what browsers always show it.
_EXPOSED = ("grpc-status", "grpc-message", "grpc-status-details-bin", "x-request-id")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The application, for pages of these origins too; as it is where there are none.

    Without cookies: a page that has a token sends it in a header.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=["*"],
        expose_headers=_EXPOSED,
    )
