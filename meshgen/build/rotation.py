"""New certificates for a mesh that runs, and how long those that it has are good for.

Files are written in place: containers see them through mounts of these very files. Members read
them at each handshake, and connections that there are go on; so no call is lost.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from meshgen.build.authority import MEMBER_DAYS, new_authority
from meshgen.build.certs import CLIENTS, authority_of
from meshgen.edges import read_identity
from meshgen.errors import MeshError


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a certificate, and until when that is good. The authority is one, too."""

    name: str
    ends: dt.datetime

    @property
    def days_left(self) -> float:
        """Negative once it has ended."""
        return (self.ends - dt.datetime.now(dt.UTC)) / dt.timedelta(days=1)


def rotate_members(certs: Path, *, days: float = MEMBER_DAYS) -> list[Holder]:
    """Give every service and the gateway a new key and certificate, of the present authority.

    Raises:
        MeshError: There is no authority, or a certificate cannot be read or written.
    """
    authority = authority_of(certs)
    folders = sorted(path.parent for path in certs.glob("*/cert.pem"))
    for folder in folders:
        identity = read_identity(_uris(_read(folder / "cert.pem")))
        if identity is None:
            continue  # of the published ports: not ours
        pair = authority.issue(folder.name, identity.uri, days=days)
        _overwrite(folder / "key.pem", pair.key)
        _overwrite(folder / "cert.pem", pair.cert)
    return [_holder(folder.name, folder / "cert.pem") for folder in folders]


def rotate_authority(certs: Path) -> None:
    """Make a new authority, which everybody trusts from now on beside the one there was.

    Certificates of the old one stay good until `forget_authorities`.

    Raises:
        MeshError: There is no authority, or a file cannot be written.
    """
    authority_of(certs)
    made = new_authority().pair
    _overwrite(certs / "ca.pem", made.cert + (certs / "ca.pem").read_bytes())
    _overwrite(certs / "ca.key", made.key)


def forget_authorities(certs: Path) -> None:
    """Trust the present authority alone: clients that one before it signed are refused.

    Raises:
        MeshError: There is no authority, or a member's certificate is not of the present one.
    """
    authority = authority_of(certs)
    for path in sorted(certs.glob("*/cert.pem")):
        if _read(path).issuer != authority.certificate.subject:
            raise MeshError(
                f"{path} was signed by an authority that would be forgotten: run meshgen certs "
                "rotate first, so that every member has a certificate of the present one"
            )
    _overwrite(certs / "ca.pem", authority.pair.cert)


def holders(certs: Path) -> list[Holder]:
    """Everybody with a certificate: the authority first, then members, then clients.

    Raises:
        MeshError: A certificate cannot be read.
    """
    found = [_holder("certificate authority", certs / "ca.pem")]
    found += [_holder(path.parent.name, path) for path in sorted(certs.glob("*/cert.pem"))]
    clients = sorted((certs / CLIENTS).glob("*/cert.pem"))
    return [*found, *(_holder(f"client {path.parent.name}", path) for path in clients)]


def _holder(name: str, path: Path) -> Holder:
    return Holder(name=name, ends=_read(path).not_valid_after_utc)


def _read(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())[0]
    except (OSError, ValueError, IndexError) as exc:
        raise MeshError(f"the certificate in {path} cannot be read: {exc}") from exc


def _uris(certificate: x509.Certificate) -> Iterator[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    yield from names.get_values_for_type(x509.UniformResourceIdentifier)


def _overwrite(path: Path, content: bytes) -> None:
    try:
        # Neither a new file, which mounts would not see, nor other modes or another owner.
        with path.open("r+b") as file:
            file.write(content)
            file.truncate()
    except OSError as exc:
        raise MeshError(f"{path} cannot be written: {exc}") from exc
