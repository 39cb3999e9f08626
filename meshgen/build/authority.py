"""The mesh's own certificate authority, and what it signs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshgen.errors import MeshError

_CA_DAYS = 3650
# How long a member's certificate is good for.
MEMBER_DAYS = 1825
# Clocks of machines differ.
_SKEW = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate and its private key, in PEM."""

    cert: bytes
    key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The mesh's CA with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pair(self) -> KeyPair:
        """In PEM."""
        return KeyPair(cert=to_pem(self.certificate), key=_key_pem(self.key))

    def issue(
        self, dns_name: str, uri: str, *, days: float = MEMBER_DAYS, serves: bool = True
    ) -> KeyPair:
        """A new key with a certificate for it; one that does not serve is good for clients only."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, dns_name[:64])])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        usages += [ExtendedKeyUsageOID.SERVER_AUTH] if serves else []
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        certificate = (
            _builder(name, key.public_key(), days)
            .issuer_name(self.certificate.subject)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(alternative_names(dns_name, uri), critical=False)
            .add_extension(signer, critical=False)
            .sign(self.key, hashes.SHA256())
        )
        return KeyPair(cert=to_pem(certificate), key=_key_pem(key))


def new_authority() -> Authority:
    """One that nobody trusts yet."""
    key = ec.generate_private_key(ec.SECP256R1())
    # Each has a name of its own: who trusts two must be able to tell them apart.
    serial = x509.random_serial_number()
    name = x509.Name(
        [x509.NameAttribute(NameOID.COMMON_NAME, f"meshgen mesh CA {serial % 16**8:08x}")]
    )
    certificate = (
        _builder(name, key.public_key(), _CA_DAYS)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate=certificate, key=key)


def read_authority(folder: Path) -> Authority | None:
    """The authority in a folder of certificates; None if there is none.

    Raises:
        MeshError: It cannot be read.
    """
    if not (folder / "ca.pem").is_file() or not (folder / "ca.key").is_file():
        return None
    try:
        # The first one: behind it may be those that are trusted still.
        certificate = x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())[0]
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
    except (OSError, ValueError) as exc:
        raise MeshError(
            f"the mesh's certificate authority in {folder} cannot be read ({exc}); "
            "remove that folder to make a new one for all services"
        ) from exc
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return Authority(certificate=certificate, key=key)


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, days: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    end = now + dt.timedelta(days=days)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, end) - _SKEW)
        .not_valid_after(end)
    )


def alternative_names(dns_name: str, uri: str) -> x509.SubjectAlternativeName:
    """What peers know the holder of a certificate by."""
    return x509.SubjectAlternativeName(
        [x509.DNSName(dns_name), x509.UniformResourceIdentifier(uri)]
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


def to_pem(certificate: x509.Certificate) -> bytes:
    """A certificate as text."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
