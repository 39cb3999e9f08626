"""What Docker Compose runs of a mesh that was built."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

_SECONDS = 20.0


def containers(out: Path) -> dict[str, dict[str, int]] | None:
    """How many containers of each service are in which state; None if no engine answers.

    A state is "healthy", "starting" or "unhealthy" where the container runs, else Docker's word.
    """
    command = ("docker", "compose", "ps", "--all", "--format", "json")
    try:
        ran = subprocess.run(
            command, cwd=out, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return _counted(ran.stdout) if ran.returncode == 0 else None


def _counted(printed: str) -> dict[str, dict[str, int]]:
    """Newer versions of Compose print one object a line, older ones a list."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    lines = [json.loads(line) for line in printed.splitlines() if line.strip()]
    for each in lines[0] if lines and isinstance(lines[0], list) else lines:
        found[each["Service"]][each.get("Health") or each["State"]] += 1
    return {service: dict(states) for service, states in sorted(found.items())}
