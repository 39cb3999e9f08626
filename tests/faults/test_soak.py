"""A hundred callers for more than two minutes, while replicas are killed and scaled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.soakreport import SoakReport

ROOT = Path(__file__).parent.parent.parent
# Its end is compared with the second minute; what it takes beyond that is starts and ends.
_SECONDS, _AT_MOST = 130, 300


@pytest.mark.slow
@pytest.mark.alone
def test_a_soak_keeps_every_promise(tmp_path: Path) -> None:
    """No wrong answer, no hang, no idempotent call lost; memory, tasks and sockets as before."""
    results = tmp_path / "soak.json"
    command = ["-m", "benchmarks.soak", "--seconds", str(_SECONDS), "--json", str(results)]
    ran = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=_AT_MOST
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(results.read_text())
    assert found["kills"] >= 10
    assert found["scalings"] == 4
    # Of each kind, and not just a few.
    assert min(each["right"] for each in found["outcomes"].values()) > 500
    # A soak in which nobody was hit would show nothing.
    assert found["outcomes"]["once"].get("ReplicaLostError", 0) > 0


def _report(**changes: object) -> SoakReport:
    given: dict[str, object] = {
        "seconds": 150.0,
        "kills": 14,
        "scalings": 4,
        "outcomes": {"unary": {"right": 5}, "once": {"right": 3, "ReplicaLostError": 2}},
        "saved": ("unary",),
        "attacked": "workers",
        "memory": [(70.0, {"driver": 20.0, "workers A": 5.0}), (149.0, {"driver": 22.0})],
        "held_before": {"tasks": 5},
        "held_after": {"tasks": 5},
        "machine": {},
    }
    return SoakReport(**{**given, **changes})  # type: ignore[arg-type]  # each is of its field's type


def test_a_soak_without_fault_is_kept() -> None:
    """Calls that may not run twice may be lost; what is at its limit is within it."""
    assert _report().kept


@pytest.mark.parametrize(
    "changes",
    [
        {"outcomes": {"once": {"wrong": 1}}},
        {"outcomes": {"once": {"hang": 1}}},
        {"outcomes": {"unary": {"ReplicaLostError": 1}}},
        {"outcomes": {"once": {"UnavailableError": 1}}},
        {"memory": [(70.0, {"driver": 20.0}), (149.0, {"driver": 22.1})]},
        {"held_after": {"tasks": 6}},
    ],
)
def test_each_broken_promise_is_told(changes: dict[str, object]) -> None:
    """One is enough, and the table says which."""
    report = _report(**changes)
    assert not report.kept
    assert report.text().count("**no**") == 1
