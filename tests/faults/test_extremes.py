"""Beyond the fault table: all replicas at once, no time to leave, and callers that hang."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
import pytest
import pytest_asyncio

from meshgen import serve
from meshgen.errors import ReplicaLostError
from meshgen.testing import run_app, run_http
from meshgen.types import new_id
from tests.apps.faults.app import app, build
from tests.faults.arena import COUNT, TRIES, Arena, Processes

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.slow,
    pytest.mark.alone,
]

# What a replica of these has to finish what runs.
_GRACE = 0.5


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def arena() -> AsyncIterator[Arena]:
    """The application, whose producers and consumers leave in a hurry."""
    async with run_app(build(graceful_shutdown_timeout_s=_GRACE), mode="processes") as front:
        yield Processes(front)


@pytest.fixture(autouse=True)
async def no_hang() -> AsyncIterator[None]:
    """Each test ends within three minutes."""
    async with asyncio.timeout(180):
        yield


def _check_lost(outcomes: Sequence[Mapping[str, Any]], there: set[str]) -> None:
    """Idempotent calls are answered; of the others, those that were there are lost."""
    for each in outcomes:
        is_lost = each["key"] in there and not each["key"].startswith("make ")
        assert each["outcome"] == ("ReplicaLostError" if is_lost else "right"), each


async def test_idempotent_calls_outlive_every_replica(arena: Arena) -> None:
    """All die at once: calls that may run again wait for the first that is back."""
    producers = await arena.members("producer")
    gate = new_id()
    calls = asyncio.create_task(arena.ask("unary", gate, COUNT))
    held = await arena.ask("until_entered", gate, 2 * COUNT)
    for each in producers.values():
        os.kill(each.pid, signal.SIGKILL)
    await arena.ask("open", gate)
    _check_lost(await calls, {key for keys in held.values() for key in keys})


@pytest.mark.parametrize("situation", ["unary", "streaming"])
async def test_what_outlasts_the_grace_of_a_leaving_replica_is_lost(
    arena: Arena, situation: str
) -> None:
    """As with one that dies; and not before its time is over."""
    producers = await arena.members("producer")
    gate = new_id()
    calls = asyncio.create_task(arena.ask(situation, gate, COUNT))
    count = COUNT if situation == "streaming" else 2 * COUNT
    held = await arena.ask("until_entered", gate, count)
    victim = producers[max(held, key=lambda name: len(held[name]))]
    told = time.time()
    os.kill(victim.pid, signal.SIGTERM)
    while (await arena.until_answers(victim)).life == victim.life:
        pass
    await arena.ask("open", gate)
    outcomes = await calls
    _check_lost(outcomes, set(held[victim.replica]))
    ends = [each["ended"] - told for each in outcomes if each["outcome"] == "ReplicaLostError"]
    # None, if all that was there may run again.
    assert min(ends, default=_GRACE) >= _GRACE


async def test_a_caller_that_hangs_leaves_nothing_running(arena: Arena) -> None:
    """Its calls are cancelled where they run; when it goes on, it calls as before."""
    for _ in range(TRIES):
        if (took := await _hang(arena)) < 6:
            return
    raise AssertionError(f"its calls were there for {took} s")


async def _hang(arena: Arena) -> float:
    """How long it takes until its calls are lost, and cancelled."""
    pid = await arena.ask("pid")
    board = serve.get_deployment_handle("Board", "default")
    gate = new_id()
    calls = asyncio.create_task(arena.ask("unary", gate, COUNT))
    await arena.ask("until_entered", gate, 2 * COUNT)
    os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        with pytest.raises(ReplicaLostError):
            await calls
        await board.until_left.remote(gate, 2 * COUNT)
        took = time.monotonic() - stopped
    finally:
        os.kill(pid, signal.SIGCONT)
    await arena.members("producer")
    outcomes = await arena.ask("idle", "", COUNT)
    assert [each for each in outcomes if each["outcome"] != "right"] == []
    return took


async def test_a_request_whose_ingress_dies_is_answered() -> None:
    """By 503 within a second; the next one waits for the ingress to be back."""
    async with run_http(app, mode="processes") as url, httpx.AsyncClient(timeout=60) as client:
        for _ in range(TRIES):
            if (took := await _kill_the_ingress(client, url)) < 1:
                return
    raise AssertionError(f"it was answered after {took} s")


async def _kill_the_ingress(client: httpx.AsyncClient, url: str) -> float:
    """How long it takes to answer."""
    pid = await _ask(client, url, "pid")
    gate = new_id()
    request = asyncio.create_task(client.post(url, json=_body("unary", gate, 1)))
    await _ask(client, url, "until_entered", gate, 2)
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    assert (await request).status_code == 503
    took = time.monotonic() - killed
    assert await _ask(client, url, "pid") != pid
    return took


async def _ask(client: httpx.AsyncClient, url: str, what: str, *arguments: Any) -> Any:
    answer = await client.post(url, json=_body(what, *arguments))
    return answer.raise_for_status().json()["told"]


def _body(what: str, *arguments: Any) -> dict[str, Any]:
    return {"do": what, "with": arguments}
