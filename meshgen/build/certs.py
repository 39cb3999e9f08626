"""The certificates of a mesh, as they lie in its output folder.

certs/ca.pem             every member checks its peers against it: the authority, and after a
                         rotation the one before it
certs/ca.key             signs new members; never mounted anywhere
certs/<service>/         cert.pem and key.pem of one service or of the gateway
certs/clients/<name>/    ca.pem, cert.pem and key.pem of somebody outside
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from meshgen.build.authority import (
    Authority,
    KeyPair,
    alternative_names,
    new_authority,
    read_authority,
)
from meshgen.edges import Identity
from meshgen.errors import MeshError, OptionError

CLIENTS = "clients"
# A certificate this close to its end is made anew by a rebuild.
RENEW = dt.timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who must be able to read a key: the user that containers run as."""

    uid: int
    gid: int

    def take(self, path: Path) -> None:
        """Make a file theirs, if it is not."""
        if (os.getuid(), os.getgid()) != (self.uid, self.gid):
            os.chown(path, self.uid, self.gid)


def write_certificates(
    folder: Path, identities: Sequence[Identity], owner: Owner, *, old: Path | None = None
) -> None:
    """Fill the new `folder`; what in `old` is still good is taken over, the rest is issued.

    Raises:
        MeshError: The old authority cannot be read.
    """
    folder.mkdir()
    folder.chmod(0o755)
    authority = read_authority(old) if old is not None else None
    if authority is None or ends_soon(authority.certificate):
        old, authority = None, new_authority()
    trusted = authority.pair.cert if old is None else (old / "ca.pem").read_bytes()
    _create(folder / "ca.pem", trusted, mode=0o644)
    _create(folder / "ca.key", authority.pair.key, mode=0o600)
    for identity in identities:
        kept = None if old is None else _still_good(old / identity.name, identity, authority)
        pair = kept or authority.issue(identity.name, identity.uri)
        _create_pair(folder / identity.name, pair, owner)
    if old is not None and (old / CLIENTS).is_dir():
        shutil.copytree(old / CLIENTS, folder / CLIENTS)


def issue_client(certs: Path, identity: Identity, *, days: float, out: Path | None = None) -> Path:
    """Write a client's certificate and key to a new folder, with what it has to trust.

    Raises:
        MeshError: The mesh has no authority, or the folder is there already.
        OptionError: The name cannot be used.
    """
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", identity.name):
        raise OptionError(f"a client's name is made of a-z, 0-9 and '-', got {identity.name!r}")
    authority = authority_of(certs)
    folder = out if out is not None else certs / CLIENTS / identity.name
    try:
        folder.mkdir(parents=True, mode=0o700)
    except FileExistsError as exc:
        raise MeshError(
            f"{folder} is there already; remove it, or give another folder with --out"
        ) from exc
    pair = authority.issue(identity.name, identity.uri, days=days, serves=False)
    _create(folder / "ca.pem", (certs / "ca.pem").read_bytes(), mode=0o644)
    _create(folder / "cert.pem", pair.cert, mode=0o644)
    _create(folder / "key.pem", pair.key, mode=0o600)
    return folder


def authority_of(certs: Path) -> Authority:
    """The authority of a mesh that was built.

    Raises:
        MeshError: There is none, or it cannot be read.
    """
    found = read_authority(certs)
    if found is None:
        raise MeshError(
            f"{certs} has no certificate authority (ca.pem and ca.key): name the folder that "
            "meshgen build wrote, on the machine where it was built"
        )
    return found


def ends_soon(certificate: x509.Certificate) -> bool:
    """Whether it is to be made anew at the next occasion."""
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < RENEW


def _still_good(folder: Path, identity: Identity, authority: Authority) -> KeyPair | None:
    """A member's key pair as it is, if it is its own and of this authority."""
    try:
        pem, key = (folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes()
        certificate = x509.load_pem_x509_certificate(pem)
        certificate.verify_directly_issued_by(authority.certificate)
    except (OSError, ValueError, InvalidSignature):
        return None
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if ends_soon(certificate) or names != alternative_names(identity.name, identity.uri):
        return None
    return KeyPair(cert=pem, key=key)


def _create_pair(folder: Path, pair: KeyPair, owner: Owner) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    _create(folder / "cert.pem", pair.cert, mode=0o644)
    _create(folder / "key.pem", pair.key, mode=0o600)
    owner.take(folder / "key.pem")


def _create(path: Path, content: bytes, *, mode: int) -> None:
    # Created with its mode: a key is at no moment readable by others.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    path.chmod(mode)
