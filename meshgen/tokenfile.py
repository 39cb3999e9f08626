"""The file of bearer tokens that open the published ports.

One token a line; blank lines, and those that begin with `#`, are skipped. Whoever can read the file
can call, so nobody but its owner and group may.
"""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from meshgen.errors import OptionError

# What may stand in a header after "Bearer ": no spaces, no control characters.
_TOKEN = re.compile(rb"[\x21-\x7e]+")


def read_tokens(path: Path) -> tuple[bytes, ...]:
    """The tokens of a file.

    Raises:
        OptionError: There is no such file, others may read it, or a line is no token.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read().splitlines()
    except OSError as exc:
        raise OptionError(
            f"the token file {path} cannot be read: {exc.strerror or exc}; "
            "write one token a line to it"
        ) from exc
    if mode & stat.S_IROTH:
        raise OptionError(f"everybody can read the token file {path}; run chmod 600 on it")
    tokens = tuple(line.strip() for line in lines if _is_given(line))
    for number, line in enumerate(lines, 1):  # what the line says is said to nobody
        if _is_given(line) and not _TOKEN.fullmatch(line.strip()):
            raise OptionError(
                f"line {number} of the token file {path} is no token; "
                "a token is printable ASCII without spaces"
            )
    if not tokens:
        raise OptionError(f"the token file {path} has no token in it; write one a line")
    return tokens


def _is_given(line: bytes) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith(b"#")


def write_new_token(path: Path) -> None:
    """Make a file with one new token, which only this user can read.

    Raises:
        FileExistsError: There is one.
    """
    # Created with its mode: at no moment can others read it.
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{secrets.token_urlsafe(32)}\n")
