"""A new user_config while a replica serves: SIGHUP to a real process, and what it reports."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import pytest

from meshgen.specfiles import edition_of
from tests.runtime import workers
from tests.runtime.processes import Process, calling, service


async def _reload(process: Process) -> dict[str, Any]:
    process.send(signal.SIGHUP)
    told: dict[str, Any] = await asyncio.to_thread(process.next, "reconfigured")
    return told


def _taken(process: Process) -> dict[str, Any]:
    """What is reported of the file as it is."""
    content = (process.root / "service" / "service.json").read_bytes()
    return {"reconfigured": edition_of(content), "reconfigure_error": ""}


@pytest.mark.parametrize("first", [None, "soft"])
async def test_a_new_user_config_reaches_a_replica_that_serves(first: str | None) -> None:
    """Whether or not it had one before; it is the same process and the same object."""
    with service(workers.Tuned, user_config=first) as process:
        process.next("phase")
        async with calling(process) as handle:
            assert await handle.config.remote() == first
            for config in ("loud", {"volume": 11}):
                process.configure(config)
                assert await _reload(process) == _taken(process)
                assert await handle.config.remote() == config


@pytest.mark.parametrize(("config", "said"), [("bad", "no such voice"), ("worse", "I quit")])
async def test_a_reconfigure_that_fails_leaves_the_replica_running(config: str, said: str) -> None:
    """The user's traceback is reported and logged; the next configuration has its chance."""
    with service(workers.Tuned, user_config="soft") as process:
        process.next("phase")
        async with calling(process) as handle:
            process.configure(config)
            told = await _reload(process)
            assert told["reconfigured"] == _taken(process)["reconfigured"]
            assert told["reconfigure_error"].startswith("Traceback")
            assert said in told["reconfigure_error"].splitlines()[-1]
            assert await handle.config.remote() == "soft"
            process.configure("loud")
            assert await _reload(process) == _taken(process)
            assert await handle.config.remote() == "loud"
        process.send(signal.SIGTERM)
        status, _, err = await asyncio.to_thread(process.ended)
        assert status == 0
        assert "reconfigure failed, the replica goes on serving: Traceback" in err


def test_a_user_config_that_is_taken_away_stays() -> None:
    """A running object cannot go back to before it was configured."""
    with service(workers.Tuned, user_config="soft") as process:
        process.next("phase")
        process.configure(None)
        process.send(signal.SIGHUP)
        error = process.next("reconfigured")["reconfigure_error"]
        assert "default/Tuned has no user_config any more" in error


def test_a_class_that_takes_none_is_an_error() -> None:
    """But no reason to end."""
    with service(workers.Worker) as process:
        process.next("phase")
        process.configure("loud")
        process.send(signal.SIGHUP)
        error = process.next("reconfigured")["reconfigure_error"]
        assert "default/Worker has a user_config but its class has no reconfigure" in error


def test_without_any_user_config_there_is_nothing_to_do() -> None:
    """A signal too many harms nobody."""
    with service(workers.Worker) as process:
        process.next("phase")
        process.send(signal.SIGHUP)
        assert process.next("reconfigured") == _taken(process)


@pytest.mark.parametrize("content", ["", "[]", '{"options": {}}'])
def test_a_file_that_cannot_be_read_is_an_error(content: str) -> None:
    """The path is named."""
    with service(workers.Tuned, user_config="soft") as process:
        process.next("phase")
        path = process.root / "service" / "service.json"
        path.write_text(content)
        process.send(signal.SIGHUP)
        assert str(path) in process.next("reconfigured")["reconfigure_error"]
