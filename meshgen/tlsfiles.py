"""The user's own certificate, for TLS on the published ports."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from meshgen.errors import OptionError


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A certificate with those that lead to its authority, and its private key, both in PEM."""

    cert: Path
    key: Path

    def check(self) -> None:
        """See that a server can use both.

        Raises:
            OptionError: One cannot be read, or they do not fit.
        """
        for path in (self.cert, self.key):
            try:
                path.open("rb").close()
            except OSError as exc:
                raise OptionError(f"{path} cannot be read: {exc.strerror or exc}") from exc
        try:
            # With a password at hand, or a terminal would be asked for that of an encrypted key.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                self.cert, self.key, _NO_PASSWORD
            )
        except (ssl.SSLError, ValueError) as exc:
            raise OptionError(
                f"{self.cert} and {self.key} cannot be served with: {_reason(exc)}; give a "
                "certificate and its unencrypted private key, both in PEM"
            ) from exc


def tls_files(cert: Path | None, key: Path | None) -> TlsFiles | None:
    """What TLS is served with; None where neither is given.

    Raises:
        OptionError: Only one of them is.
    """
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "certificate (--tls-cert)" if cert is None else "private key (--tls-key)"
        raise OptionError(
            f"TLS needs a certificate and its private key, and the {missing} is missing"
        )
    return TlsFiles(cert=cert, key=key)


_NO_PASSWORD = b"-"


def _reason(error: Exception) -> str:
    name = getattr(error, "reason", None) or ""
    if name == "KEY_VALUES_MISMATCH":
        return "the key does not belong to the certificate"
    return str(name).replace("_", " ").lower() or "they hold no PEM"
