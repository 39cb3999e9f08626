"""The mesh's own certificate authority, and a key pair for each of its services.

certs/ca.pem             every service checks its peers against it
certs/ca.key             signs new services at a rebuild; never mounted anywhere
certs/<service>/         cert.pem and key.pem of one service or of the gateway
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshgen.errors import MeshError

_CA_DAYS, _DAYS = 3650, 1825
# A certificate this close to its end is made anew by a rebuild.
_RENEW = dt.timedelta(days=90)
# Clocks of machines differ.
_SKEW = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """One member of the mesh: its DNS name, and `meshgen://app/deployment`."""

    service: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who must be able to read a key: the user that containers run as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The mesh's CA with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def write_certificates(
    folder: Path, identities: Sequence[Identity], owner: Owner, *, old: Path | None = None
) -> None:
    """Fill the new `folder`; what in `old` is still good is taken over, the rest is issued.

    Raises:
        MeshError: The old authority cannot be read.
    """
    folder.mkdir()
    folder.chmod(0o755)
    authority = (_read_authority(old) if old is not None else None) or _new_authority()
    _write(folder / "ca.pem", _pem(authority.certificate), mode=0o644)
    _write(folder / "ca.key", _key_pem(authority.key), mode=0o600)
    for identity in identities:
        place = folder / identity.service
        place.mkdir()
        place.chmod(0o755)
        kept = None if old is None else _still_good(old / identity.service, identity, authority)
        certificate, key = kept or _issue(authority, identity)
        _write(place / "cert.pem", certificate, mode=0o644)
        _write(place / "key.pem", key, mode=0o600)
        _hand_over(place / "key.pem", owner)


def _new_authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshgen mesh CA")])
    certificate = (
        _builder(name, key.public_key(), _CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key)


def _issue(authority: Authority, identity: Identity) -> tuple[bytes, bytes]:
    """Certificate and key in PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.service)])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    certificate = (
        _builder(name, key.public_key(), _DAYS)
        .issuer_name(authority.certificate.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_names(identity), critical=False)
        .add_extension(signer, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    return _pem(certificate), _key_pem(key)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _names(identity: Identity) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(
        [x509.DNSName(identity.service), x509.UniformResourceIdentifier(identity.uri)]
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _read_authority(folder: Path) -> Authority | None:
    """The authority that was made before; None if there is none or it ends soon."""
    if not (folder / "ca.pem").is_file() or not (folder / "ca.key").is_file():
        return None
    try:
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as exc:
        raise MeshError(
            f"the mesh's certificate authority in {folder} cannot be read ({exc}); "
            "remove that folder to make a new one for all services"
        ) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey) or _ends_soon(certificate):
        return None
    return Authority(certificate=certificate, key=key)


def _still_good(
    folder: Path, identity: Identity, authority: Authority
) -> tuple[bytes, bytes] | None:
    """A service's certificate and key as they are, if they are its own and of this authority."""
    try:
        pem, key = (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(authority.certificate)
    except (OSError, ValueError, InvalidSignature):
        return None
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return None if _ends_soon(certificate) or names != _names(identity) else (pem, key)


def _ends_soon(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < _RENEW


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _write(path: Path, content: bytes, *, mode: int) -> None:
    # Created with its mode: a key is at no moment readable by others.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    path.chmod(mode)


def _hand_over(key: Path, owner: Owner) -> None:
    if (os.getuid(), os.getgid()) != (owner.uid, owner.gid):
        os.chown(key, owner.uid, owner.gid)
