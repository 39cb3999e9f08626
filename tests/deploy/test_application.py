"""How the replicas of a deployment are."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from meshgen.deploy.application import deployment_status
from meshgen.deploy.child import Child
from meshgen.deploy.command import Command
from meshgen.deploy.crashes import Pace
from meshgen.serve.schema import ReplicaState
from tests.deploy.watched import CRASHING, watching


async def test_a_crash_loop_is_an_unhealthy_deployment_that_says_why(tmp_path: Path) -> None:
    """How often it has ended, what comes next and its last words, also while it is tried again."""
    pace = Pace(first=0.01, longest=0.05, limit=2)
    async with watching(tmp_path, CRASHING, pace=pace, working_dir=str(tmp_path)) as watched:
        await watched.until_state(ReplicaState.CRASH_LOOP)
        status = deployment_status([watched.child])
        assert (status.status, status.replica_states) == ("UNHEALTHY", {"CRASH_LOOP": 1})
        for text in ("has ended 2 times in a row", "is tried again every 0.05 s", "it is broken"):
            assert text in status.message
        assert status.replicas[0].last_error.endswith("it is broken")
        (tmp_path / "mended").touch()
        await watched.until_state(ReplicaState.RUNNING)
        assert deployment_status([watched.child]).status == "UNHEALTHY"


async def test_a_replica_that_runs_again_is_healthy_and_tells_why_it_had_ended(
    tmp_path: Path,
) -> None:
    """Its load is that of the process that runs."""
    program = """
if os.path.exists('again'):
    report(phase='serving')
    report(ongoing=3, stored_values=2, stored_bytes=100)
    signal.pause()
open('again', 'w').close()
report(phase='serving', ongoing=7)
sys.exit('out of luck')
"""
    async with watching(tmp_path, program, working_dir=str(tmp_path)) as watched:
        await watched.until_state(ReplicaState.BACKOFF)
        (replica,) = deployment_status([watched.child]).replicas
        assert (replica.state, replica.pid, replica.ongoing_requests) == ("BACKOFF", None, 0)
        await watched.until(lambda: watched.child.facts.get("ongoing") == 3)
        status = deployment_status([watched.child])
        assert (status.status, status.message) == ("HEALTHY", "")
        (replica,) = status.replicas
        assert (replica.state, replica.pid, replica.restarts) == ("RUNNING", watched.child.pid, 1)
        assert (replica.ongoing_requests, replica.health_failures) == (3, 0)
        assert (replica.stored_values, replica.stored_bytes) == (2, 100)
        assert replica.last_error.endswith("out of luck")


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ("RUNNING RUNNING", "HEALTHY"),
        ("RUNNING STARTING", "UPDATING"),
        ("RUNNING STOPPING", "UPDATING"),
        ("RUNNING BACKOFF", "UNHEALTHY"),
        ("FAILED RUNNING", "DEPLOY_FAILED"),
    ],
)
async def test_a_deployment_is_as_its_worst_replica(states: str, expected: str) -> None:
    """One that has failed, one that has ended, one that is on its way."""
    children = []
    for state in map(ReplicaState, states.split()):
        child = Child(Command(name="child", module="", environment={}), print, asyncio.Event().set)
        child.state = state
        child.last_error = "oh" if state in ("BACKOFF", "FAILED") else ""
        children.append(child)
    status = deployment_status(children)
    assert status.status == expected
    assert status.message == "".join(child.last_error for child in children)
