"""Which requests of the published ports bring a token that is good now."""

from __future__ import annotations

import hmac
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path

from meshgen.errors import OptionError
from meshgen.tokenfile import read_tokens

logger = logging.getLogger("meshgen.gateway")

NEEDED = "this needs a token: send `authorization: Bearer TOKEN`"
# A file that was written this short a time ago may be written again within the same tick of its
# clock, in nanoseconds.
_YOUNG = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What changes when a file does."""

    inode: int
    size: int
    modified: int
    changed: int


class TokenGate:
    """Compares tokens with those of a file, which it reads again when that has changed.

    As long as the file cannot be read it lets nobody through.
    """

    def __init__(self, path: Path) -> None:
        """Read the file for the first time.

        Raises:
            OptionError: It cannot be read.
        """
        self._path = path
        self._stamp = _stamp_of(path)
        self._tokens = read_tokens(path)

    def admits(self, authorization: str) -> bool:
        """Whether the header's value is `Bearer` and one of the tokens."""
        scheme, _, token = authorization.partition(" ")
        given = token.strip().encode("utf-8", "replace")
        # All of them are compared, whichever fits: how long it takes tells nothing.
        fits = [hmac.compare_digest(given, each) for each in self._now()]
        return scheme.lower() == "bearer" and any(fits)

    def _now(self) -> tuple[bytes, ...]:
        stamp = _stamp_of(self._path)
        if stamp is None or stamp != self._stamp:
            self._tokens = self._read()
            self._stamp = stamp
        return self._tokens

    def _read(self) -> tuple[bytes, ...]:
        try:
            tokens = read_tokens(self._path)
        except OptionError as exc:
            if self._tokens:
                logger.error("all requests are refused: %s", exc)
            return ()
        if tokens != self._tokens:
            logger.info("%s has %d tokens now", self._path, len(tokens))
        return tokens


def _stamp_of(path: Path) -> _Stamp | None:
    """None where the file may be another at the next look, although all this is the same."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    if time.time_ns() - found.st_mtime_ns < _YOUNG:
        return None
    return _Stamp(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
