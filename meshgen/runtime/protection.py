"""What stands between the published ports and whoever finds them: tokens, TLS, CORS, limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import OptionError
from meshgen.listener import is_loopback
from meshgen.runtime.tokengate import TokenGate
from meshgen.settings import Settings, variable
from meshgen.tlsfiles import TlsFiles, tls_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Protection:
    """That of one gateway, the same for HTTP and gRPC. Without a gate everybody may call."""

    gate: TokenGate | None = None
    tls: TlsFiles | None = None
    cors_origins: tuple[str, ...] = ()
    limits: EdgeLimits = field(default_factory=EdgeLimits)


UNGUARDED = Protection()


def protection_of(settings: Settings, limits: EdgeLimits) -> Protection:
    """What a gateway's settings ask for.

    Raises:
        OptionError: A file cannot be used, or one is missing.
    """
    tls = tls_files(settings.tls_cert, settings.tls_key)
    if tls is not None:
        tls.check()
    return Protection(
        gate=_gate(settings) if needs_token(settings) else None,
        tls=tls,
        cors_origins=tuple(settings.cors_origins.replace(",", " ").split()),
        limits=limits,
    )


def needs_token(settings: Settings) -> bool:
    """Whether requests need a token.

    Raises:
        OptionError: `auth` says nothing that there is.
    """
    if settings.auth not in ("", "always", "never"):
        raise OptionError(f"{variable('auth')} must be always or never, got {settings.auth!r}")
    if settings.auth:
        return settings.auth == "always"
    bound = (settings.http_host, settings.grpc_host)
    hosts = (settings.published_on,) if settings.published_on else bound
    return not all(map(is_loopback, hosts))


def _gate(settings: Settings) -> TokenGate:
    if settings.auth_token_file is None:
        raise OptionError(
            "requests need a token here, and no file has any: name one in "
            f"{variable('auth_token_file')}, or set {variable('auth')}=never"
        )
    return TokenGate(settings.auth_token_file)
