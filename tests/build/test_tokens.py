"""The token file of a built mesh."""

from __future__ import annotations

import os
from pathlib import Path

from meshgen.build.certs import Owner
from meshgen.build.tokens import TOKENS, write_tokens
from meshgen.tokenfile import read_tokens

_OWNER = Owner(uid=os.getuid(), gid=os.getgid())


def test_a_build_makes_a_token_and_a_rebuild_keeps_what_is_there(tmp_path: Path) -> None:
    """Its owner's alone, both times."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    write_tokens(folders[0], _OWNER)
    (made,) = read_tokens(folders[0] / TOKENS)
    (folders[0] / TOKENS).write_bytes(b"# mine\nother\n" + made)
    write_tokens(folders[1], _OWNER, old=folders[0])
    assert read_tokens(folders[1] / TOKENS) == (b"other", made)
    write_tokens(folders[2], _OWNER, old=tmp_path)
    assert read_tokens(folders[2] / TOKENS) != (made,)
    for folder in folders:
        status = (folder / TOKENS).stat()
        assert status.st_mode & 0o777 == 0o600 and status.st_uid == _OWNER.uid
