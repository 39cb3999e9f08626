"""Which paths an application may be served under."""

from __future__ import annotations

from collections.abc import Iterable

from meshgen.errors import OptionError
from meshgen.spec import AppSpec


def check_route(app: str, prefix: str | None, running: Iterable[AppSpec]) -> None:
    """Refuse a prefix that cannot be served, or that another application has.

    Raises:
        OptionError: It is one of these.
    """
    if prefix is None:
        return
    if not prefix.startswith("/"):
        raise OptionError(f"invalid route_prefix {prefix!r}: it must start with '/'")
    if prefix != "/" and prefix.endswith("/"):
        raise OptionError(f"invalid route_prefix {prefix!r}: it must not end with '/'")
    if "{" in prefix or "}" in prefix:
        raise OptionError(f"invalid route_prefix {prefix!r}: it must not have wildcards")
    for other in running:
        if other.name != app and other.route_prefix == prefix:
            raise OptionError(
                f"route_prefix {prefix!r} is used by application {other.name!r}: "
                f"give {app!r} another"
            )
