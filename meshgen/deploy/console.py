"""Output of many processes in one terminal: each line says whose it is."""

from __future__ import annotations

import sys
import zlib
from typing import TextIO

_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95)


def print_line(name: str, line: str, is_error: bool) -> None:
    """Write one line of a process's output to the stream that it came from."""
    stream = sys.stderr if is_error else sys.stdout
    stream.write(f"{_prefix(name, stream)} {line}\n")
    stream.flush()


def _prefix(name: str, stream: TextIO) -> str:
    if not stream.isatty():
        return f"[{name}]"
    colour = _COLOURS[zlib.crc32(name.partition("#")[0].encode()) % len(_COLOURS)]
    return f"\x1b[{colour}m[{name}]\x1b[0m"
