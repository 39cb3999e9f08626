"""Run one target on inputs that atheris makes up, for a bounded time.

An exception that leaves the target is a bug: libFuzzer prints it and writes the input to a file,
which the same command takes to try again. Inputs that reach new code are kept in a folder from run
to run.
"""

from __future__ import annotations

import argparse
import logging
import os
import pickle
import sys
import tempfile
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path

import atheris

Target = Callable[[bytes], None]
# What is looked at for new code: what is fuzzed, and what reads JSON for it.
INSTRUMENTED = ["meshgen", "google.protobuf.json_format"]
_LONGEST = 4096
# An input that takes longer is a hang.
_MOST_SECONDS = 20


def fuzz(name: str, target: Target, seeds: Iterable[bytes]) -> None:
    """Do what the command line says; ends the process.

    libFuzzer's exit status is 0 if nothing was found.
    """
    options = _options(name)
    logging.disable()
    if options.files:
        for file in options.files:
            target(file.read_bytes())
        return
    corpus = options.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in (b"", *seeds):
        (corpus / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    arguments = [
        name,
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-artifact_prefix={options.folder}/",
        f"-max_len={_LONGEST}",
        f"-timeout={_MOST_SECONDS}",
        "-rss_limit_mb=4096",
        str(corpus),
    ]
    atheris.Setup(arguments, target)
    atheris.Fuzz()


def _options(name: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"python -m tests.fuzz.{name}")
    parser.add_argument("--seconds", type=int, default=60, help="how long to go on")
    parser.add_argument("--seed", type=int, default=0, help="of the inputs; 0 for any")
    folder = Path(tempfile.gettempdir()) / "meshgen-fuzz" / name
    parser.add_argument("--folder", type=Path, default=folder, help="of inputs, and of findings")
    parser.add_argument("files", nargs="*", type=Path, help="inputs to try instead")
    return parser.parse_args()


class Bomb:
    """Pickled, it leaves a folder behind where it is unpickled."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self._folder,)


class PickleWatch:
    """Knows of every class or function that this process looks up to unpickle something."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        # As `module.name`: what the mesh itself sends from member to member.
        self._allowed = frozenset(allowed)
        self._seen: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix="meshgen-fuzz-")) / "exploded"
        sys.addaudithook(self._on_event)

    def bombs(self) -> list[bytes]:
        """What must never be unpickled, in every protocol."""
        bomb = Bomb(str(self._folder))
        return [pickle.dumps(bomb, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

    def check(self) -> None:
        """Nothing was unpickled since the last check but what is allowed."""
        seen, self._seen = self._seen, []
        assert not seen, f"unpickled: {seen}"
        assert not self._folder.exists(), "a pickle exploded"

    def _on_event(self, event: str, args: tuple[object, ...]) -> None:
        if event == "pickle.find_class":
            name = ".".join(map(str, args))
            if name not in self._allowed:
                self._seen.append(name)
