"""A certificate for localhost, and the authority that it is of."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from meshgen.build.certs import Owner, write_certificates
from meshgen.edges import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """Three files."""

    ca: Path
    cert: Path
    key: Path


def for_localhost(folder: Path) -> Certificates:
    """Made anew, in a folder that does not exist."""
    owner = Owner(uid=os.getuid(), gid=os.getgid())
    write_certificates(folder, [Identity(project="test", name="localhost")], owner)
    own = folder / "localhost"
    return Certificates(ca=folder / "ca.pem", cert=own / "cert.pem", key=own / "key.pem")
