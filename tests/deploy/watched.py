"""A child process, and what it told by its hooks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshgen.deploy.child import Child
from meshgen.deploy.command import Command
from meshgen.serve.schema import ReplicaState

# What programs below have in common: they tell their supervisor that they serve.
SERVING = """
import json, os, signal, sys, time
def report(**facts):
    os.write(int(os.environ["MESHGEN_REPORT_FD"]), (json.dumps(facts) + "\\n").encode())
"""

# It serves, and ends at once as long as there is no file "mended".
CRASHING = """
report(phase='serving')
if not os.path.exists('mended'):
    sys.exit('it is broken')
for number in range(10**6):
    report(ongoing=number)
    time.sleep(0.05)
"""


@dataclass
class Watched:
    """A child, and what it told by its hooks."""

    folder: Path
    lines: list[tuple[str, str, bool]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    cleaned: int = 0
    child: Child = field(init=False)

    def make(self, program: str, **options: Any) -> Child:
        """A child that runs a program."""
        (self.folder / "program.py").write_text(SERVING + program)
        environment = {**os.environ, "PYTHONPATH": str(self.folder), "PYTHONUNBUFFERED": "1"}
        environment |= options.pop("more", {})
        command = Command(name="child#0", module="program", environment=environment, **options)
        self.child = Child(command, self._line, self.changed.set, clean_up=self._clean)
        return self.child

    def _line(self, name: str, line: str, is_error: bool) -> None:
        self.lines.append((name, line, is_error))
        self.changed.set()

    def _clean(self) -> None:
        self.cleaned += 1

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something to become true; fails the test after half a minute."""
        async with asyncio.timeout(30):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_state(self, state: ReplicaState) -> None:
        """Wait for a state."""
        await self.until(lambda: self.child.state is state)


@asynccontextmanager
async def watching(folder: Path, program: str, **options: Any) -> AsyncIterator[Watched]:
    """A child that runs a program, stopped at the end."""
    watched = Watched(folder)
    watched.make(program, **options).start()
    try:
        yield watched
    finally:
        await watched.child.stop(at_once=True)
