"""Runs the commands of documents that begin with `grpcurl`, also where there is none.

No package registry that the project uses has grpcurl. Without one on PATH, `buf curl` makes the
same call, of the same address with the same JSON, by reflection, too; what it says is then written
down as grpcurl does it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

# Of grpcurl's options, those that documents use, and buf's for the same.
_OPTIONS = {"-d": "--data", "-H": "--header", "-max-time": "--timeout"}
# How often buf may make no call: on a busy machine its time may be over before it has learned what
# there is to call.
_TRIES = 10


def run_grpcurl(line: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What the command prints, an error included."""
    has_grpcurl = shutil.which("grpcurl", path=environment["PATH"]) is not None
    command = shlex.split(line) if has_grpcurl else as_buf(line)
    for _ in range(_TRIES):
        ran = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60
        )
        if has_grpcurl or ran.returncode == 0:
            return ran.stdout + ran.stderr
        if not ran.stderr.startswith("Failure: "):
            break
    return ran.stdout + _error(ran.stderr)


def as_buf(line: str) -> list[str]:
    """The same call by `buf curl`."""
    program, *words = shlex.split(line)
    assert program == "grpcurl", line
    assert words.pop(0) == "-plaintext", f"a local mesh has no TLS: {line}"
    options: list[str] = []
    while words[0].startswith("-"):
        option, value = words.pop(0), words.pop(0)
        # Its durations have a unit.
        options += [_OPTIONS[option], f"{value}s" if option == "-max-time" else value]
    address, what = words
    url = f"http://{address}"
    asked = ["--list-services", url] if what == "list" else [f"{url}/{what}"]
    return ["buf", "curl", "--protocol", "grpc", *options, *asked]


def _error(text: str) -> str:
    """An error of an RPC as grpcurl has it; the status's details aside."""
    try:
        error = json.loads(text)
    except ValueError:
        raise AssertionError(f"buf made no call: {text}") from None
    code = "".join(word.capitalize() for word in error["code"].split("_"))
    return f"ERROR:\n  Code: {code}\n  Message: {error['message']}\n"
