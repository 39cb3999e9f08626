"""What Docker Compose runs of a mesh that was built."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

from meshgen.errors import OptionError

_SECONDS = 20.0


def containers(out: Path) -> dict[str, dict[str, int]] | None:
    """How many containers of each service are in which state; None if no engine answers.

    A state is "healthy", "starting" or "unhealthy" where the container runs, else Docker's word.
    """
    listed = _listed(out, "--all")
    if listed is None:
        return None
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for each in listed:
        found[each["Service"]][each.get("Health") or each["State"]] += 1
    return {service: dict(states) for service, states in sorted(found.items())}


def running_project(out: Path) -> str:
    """Under which name Compose runs the mesh in this folder.

    Raises:
        OptionError: Nothing of it runs on this machine.
    """
    listed = _listed(out)
    if not listed:
        why = "no Docker engine answers here" if listed is None else f"nothing of {out} runs here"
        raise OptionError(
            f"{why}: docker compose up -d --wait in {out} starts it; for a mesh elsewhere, "
            "--resolver says how its replicas are found"
        )
    project: str = listed[0]["Project"]
    return project


def _listed(out: Path, *more: str) -> list[dict[str, str]] | None:
    """What `docker compose ps` prints of each container; None if no engine answers."""
    command = ("docker", "compose", "ps", *more, "--format", "json")
    try:
        ran = subprocess.run(
            command, cwd=out, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _parsed(ran.stdout) if ran.returncode == 0 else None


def _parsed(printed: str) -> list[dict[str, str]]:
    """Newer versions of Compose print one object a line, older ones a list."""
    lines = [json.loads(line) for line in printed.splitlines() if line.strip()]
    return lines[0] if lines and isinstance(lines[0], list) else lines
