"""Certificates of a mesh that runs: made anew in place, and how long they are good for."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography import x509

from meshgen.build.certs import Owner, issue_client, write_certificates
from meshgen.build.rotation import (
    forget_authorities,
    holders,
    rotate_authority,
    rotate_members,
)
from meshgen.edges import Identity
from meshgen.errors import MeshError, OptionError

OWNER = Owner(uid=os.getuid(), gid=os.getgid())
MEMBERS = [Identity(project="shop", name=name) for name in ("stock", "gateway")]
DORA = Identity(project="shop", name="dora", is_client=True, may_call=frozenset({"Stock"}))


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """The certificates of a mesh."""
    write_certificates(tmp_path / "certs", MEMBERS, OWNER)
    return tmp_path / "certs"


def _read(path: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(path.read_bytes())


def test_a_rotation_changes_certificates_and_keys_in_place(certs: Path) -> None:
    """The same files, for the mounts of containers, with their modes, and the same names inside."""
    files = [certs / "stock" / "cert.pem", certs / "stock" / "key.pem"]
    before = [(path.stat().st_ino, path.stat().st_mode, path.read_bytes()) for path in files]
    rotate_members(certs)
    for path, (inode, mode, content) in zip(files, before, strict=True):
        assert (path.stat().st_ino, path.stat().st_mode) == (inode, mode)
        assert path.read_bytes() != content
    (certificate,) = _read(files[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["meshgen://shop/stock"]
    certificate.verify_directly_issued_by(_read(certs / "ca.pem")[0])


def test_a_new_authority_is_trusted_beside_the_old_one(certs: Path) -> None:
    """Until that is forgotten, and that only once nobody needs it any more."""
    rotate_authority(certs)
    assert len(_read(certs / "ca.pem")) == 2
    with pytest.raises(MeshError, match="run meshgen certs rotate first"):
        forget_authorities(certs)
    rotate_members(certs)
    forget_authorities(certs)
    (authority,) = _read(certs / "ca.pem")
    _read(certs / "gateway" / "cert.pem")[0].verify_directly_issued_by(authority)


def test_a_rebuild_after_a_rotation_keeps_what_is_trusted(certs: Path, tmp_path: Path) -> None:
    """So that services which still hold an old certificate are let in while it rolls out."""
    rotate_authority(certs)
    rotate_members(certs)
    issue_client(certs, DORA, days=30)
    write_certificates(tmp_path / "new", MEMBERS, OWNER, old=certs)
    kept = ["ca.pem", "ca.key", "stock/cert.pem", "stock/key.pem", "clients/dora/key.pem"]
    for name in kept:
        assert (tmp_path / "new" / name).read_bytes() == (certs / name).read_bytes()
        assert (tmp_path / "new" / name).stat().st_mode == (certs / name).stat().st_mode


def test_a_clients_folder_is_all_that_it_needs(certs: Path, tmp_path: Path) -> None:
    """Its key for itself alone, and no use as a server's."""
    folder = issue_client(certs, DORA, days=30, out=tmp_path / "dora")
    assert sorted(path.name for path in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    (certificate,) = _read(folder / "cert.pem")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [DORA.uri]
    usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [usage._name for usage in usages] == ["clientAuth"]


def test_a_client_is_issued_once(certs: Path) -> None:
    """Nothing is overwritten that somebody may use."""
    issue_client(certs, DORA, days=30)
    with pytest.raises(MeshError, match="dora is there already; remove it"):
        issue_client(certs, DORA, days=30)


def test_a_clients_name_is_one_of_a_file_and_a_host(certs: Path) -> None:
    """It is part of a path."""
    for name in ("", "../ca", "Dora", "a b"):
        with pytest.raises(OptionError, match="a client's name"):
            issue_client(certs, Identity(project="shop", name=name, is_client=True), days=1)


def test_everybody_with_a_certificate_is_listed(certs: Path) -> None:
    """The authority first, then members, then clients, with the days that are left."""
    issue_client(certs, DORA, days=30)
    found = {each.name: each for each in holders(certs)}
    assert [*found] == ["certificate authority", "gateway", "stock", "client dora"]
    assert 29 < found["client dora"].days_left <= 30
    assert found["stock"].ends > dt.datetime.now(dt.UTC) + dt.timedelta(days=1000)


def test_without_an_authority_nothing_is_made(tmp_path: Path) -> None:
    """The sentence says where one has to be."""
    for work in (rotate_members, rotate_authority, forget_authorities):
        with pytest.raises(MeshError, match="has no certificate authority"):
            work(tmp_path)
