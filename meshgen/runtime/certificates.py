"""A process's certificate and key, and whom it trusts: read again when they are rotated."""

from __future__ import annotations

import logging
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import grpc

logger = logging.getLogger("meshgen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """A place in the mesh's mutual TLS, in PEM."""

    ca: bytes
    cert: bytes
    key: bytes

    def current(self) -> Certificates:
        """These."""
        return self


class CertificateSource(Protocol):
    """Where the certificates of the next handshake come from."""

    def current(self) -> Certificates:
        """Those to use now."""


class CertificateFolder:
    """`ca.pem`, `cert.pem` and `key.pem` in a folder.

    While they are written, or if what was written does not fit together, the last that did are in
    use.

    Raises:
        OSError: They cannot be read at first.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last = self._read()

    def current(self) -> Certificates:
        """Those in the folder now, if they are good."""
        try:
            self._check()
            found = self._read()
        except (OSError, ssl.SSLError) as exc:
            logger.warning("%s cannot be used, those before are: %s", self._folder, exc)
            return self._last
        if found != self._last:
            logger.info("the certificate in %s was rotated", self._folder)
            self._last = found
        return self._last

    def _check(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(self._folder / "ca.pem")
        # Fails where the key is not the certificate's.
        context.load_cert_chain(self._folder / "cert.pem", self._folder / "key.pem")

    def _read(self) -> Certificates:
        ca, cert, key = (
            (self._folder / f"{name}.pem").read_bytes() for name in ("ca", "cert", "key")
        )
        return Certificates(ca=ca, cert=cert, key=key)


def server_credentials(source: CertificateSource) -> grpc.ServerCredentials:
    """Credentials that refuse peers without a certificate of this mesh; rotated ones count from the
    next handshake on."""
    used = source.current()

    def rotated() -> grpc.ServerCertificateConfiguration | None:
        nonlocal used
        if (found := source.current()) == used:
            return None
        used = found
        return _configuration(found)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(used), rotated, require_client_authentication=True
    )


def _configuration(certificates: Certificates) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(certificates.key, certificates.cert)], root_certificates=certificates.ca
    )
