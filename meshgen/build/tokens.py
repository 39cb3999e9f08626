"""The tokens of a built mesh's published ports, in a file that only the containers' user can read.

certs/gateway/tokens     one token a line; a rebuild keeps what is there
"""

from __future__ import annotations

from pathlib import Path

from meshgen.build.certs import Owner
from meshgen.edges import GATEWAY
from meshgen.tokenfile import write_new_token

TOKENS = f"{GATEWAY}/tokens"


def write_tokens(folder: Path, owner: Owner, *, old: Path | None = None) -> None:
    """Put a token file into the new `folder` of certificates: that of `old`, if it has one."""
    place = folder / TOKENS
    place.parent.mkdir(exist_ok=True)
    write_new_token(place)
    if old is not None and (old / TOKENS).exists():
        place.write_bytes((old / TOKENS).read_bytes())  # its mode stays
    owner.take(place)
