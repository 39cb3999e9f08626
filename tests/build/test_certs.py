"""The mesh's certificates: who is in them, who can read them, what a rebuild keeps."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from meshgen.build.certs import Owner, write_certificates
from meshgen.build.project import container_user
from meshgen.edges import Identity
from meshgen.errors import MeshError

GREETER = Identity(project="hello", name="greeter")
FRONT = Identity(project="hello", name="front")


@pytest.fixture
def owner() -> Owner:
    """Who containers run as on this machine."""
    return container_user()


def _read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_names_its_service_for_dns_and_as_uri(tmp_path: Path, owner: Owner) -> None:
    """Peers check the one against the address, and log the other."""
    write_certificates(tmp_path / "certs", [GREETER], owner)
    certificate = _read(tmp_path / "certs" / "greeter" / "cert.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["greeter"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [GREETER.uri]
    certificate.verify_directly_issued_by(_read(tmp_path / "certs" / "ca.pem"))


def test_a_handshake_with_both_sides_verified_succeeds(tmp_path: Path, owner: Owner) -> None:
    """The chain satisfies OpenSSL's own strict checks, in both directions."""
    certs = tmp_path / "certs"
    write_certificates(certs, [GREETER, FRONT], owner)
    server = _context(certs, "greeter", ssl.PROTOCOL_TLS_SERVER)
    client = _context(certs, "front", ssl.PROTOCOL_TLS_CLIENT)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        client.wrap_bio(to_client, to_server, server_hostname="greeter"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    _shake_hands(sides)
    peer = sides[1].getpeercert()
    assert peer is not None and ("DNS", "front") in peer["subjectAltName"]


def _context(certs: Path, service: str, side: ssl._SSLMethod) -> ssl.SSLContext:
    context = ssl.SSLContext(side)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(certs / "ca.pem")
    context.load_cert_chain(certs / service / "cert.pem", certs / service / "key.pem")
    return context


def _shake_hands(sides: list[ssl.SSLObject]) -> None:
    waiting = list(sides)
    for _ in range(10):
        for side in [*waiting]:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(side)
    assert not waiting


def test_nobody_else_on_the_host_can_read_a_key(tmp_path: Path, owner: Owner) -> None:
    """Keys are 0600 and belong to the user that containers run as; the authority's to us."""
    write_certificates(tmp_path / "certs", [GREETER], owner)
    for key in (tmp_path / "certs" / "ca.key", tmp_path / "certs" / "greeter" / "key.pem"):
        assert key.stat().st_mode & 0o777 == 0o600
    status = (tmp_path / "certs" / "greeter" / "key.pem").stat()
    assert (status.st_uid, status.st_gid) == (owner.uid, owner.gid)


def test_a_rebuild_keeps_what_is_good_and_adds_what_is_new(tmp_path: Path, owner: Owner) -> None:
    """Running services go on trusting each other."""
    old, new = tmp_path / "old", tmp_path / "new"
    write_certificates(old, [GREETER], owner)
    write_certificates(new, [GREETER, FRONT], owner, old=old)
    for kept in ("ca.pem", "ca.key", "greeter/cert.pem", "greeter/key.pem"):
        assert (new / kept).read_bytes() == (old / kept).read_bytes()
    _read(new / "front" / "cert.pem").verify_directly_issued_by(_read(old / "ca.pem"))


def test_a_certificate_of_another_name_or_mesh_is_replaced(tmp_path: Path, owner: Owner) -> None:
    """It would be refused by its peers."""
    renamed = Identity(project="bonjour", name="greeter")
    old, other = tmp_path / "old", tmp_path / "other"
    write_certificates(old, [GREETER], owner)
    write_certificates(other, [GREETER], owner)
    write_certificates(tmp_path / "renamed", [renamed], owner, old=old)
    foreign = (other / "greeter" / "cert.pem").read_bytes()
    (old / "greeter" / "cert.pem").write_bytes(foreign)
    write_certificates(tmp_path / "mended", [GREETER], owner, old=old)
    for name, uri in (("renamed", renamed.uri), ("mended", GREETER.uri)):
        certificate = _read(tmp_path / name / "greeter" / "cert.pem")
        certificate.verify_directly_issued_by(_read(old / "ca.pem"))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [uri]


def test_an_authority_that_cannot_be_read_is_not_silently_replaced(
    tmp_path: Path, owner: Owner
) -> None:
    """A new one would cut off every service that runs."""
    write_certificates(tmp_path / "old", [GREETER], owner)
    (tmp_path / "old" / "ca.key").write_text("no key")
    with pytest.raises(MeshError, match="remove that folder to make a new one"):
        write_certificates(tmp_path / "new", [GREETER], owner, old=tmp_path / "old")
