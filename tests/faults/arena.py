"""A mesh whose replicas are made to fail while calls run, and what must come of these."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal

from meshgen.serve.handle import DeploymentHandle
from meshgen.types import new_id

Situation = Literal["unary", "idle", "streaming", "producing", "consuming"]
SITUATIONS: tuple[Situation, ...] = ("unary", "idle", "streaming", "producing", "consuming")
# How many calls of each kind there are in a situation.
COUNT = 12
# What a call that may have run is told; in a chain, the call after it never began.
_LOST = {"producing": {"ObjectLostError"}, "idle": {"ObjectLostError", "ReplicaLostError"}}
# Calls that may run again.
_IDEMPOTENT = {"make", "take"}
# A replica that is well again answers within so many seconds; it may have been left alone for ten.
_RECOVERY = 30.0
# How soon there are outcomes says of the machine, too: it gets other chances.
TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One replica of the deployment under attack."""

    deployment: str
    replica: str
    pid: int
    # Another one after a restart.
    life: str


class Arena(ABC):
    """The application of tests/apps/faults, running somewhere."""

    @abstractmethod
    async def ask(self, what: str, *arguments: Any) -> Any:
        """Call a method of its front."""

    async def members(self, deployment: str) -> dict[str, Member]:
        """All three replicas of a deployment, once each has answered."""
        told: dict[str, Any] = {}
        while len(told) < 3:
            told |= await self.ask("who", deployment)
        return {name: Member(deployment=deployment, **each) for name, each in told.items()}

    async def until_answers(self, replica: Member) -> Member:
        """The replica as it is when it answers again."""
        while True:
            told = await self.ask("who", replica.deployment)
            if found := told.get(replica.replica):
                return Member(deployment=replica.deployment, **found)


class Processes(Arena):
    """The application as processes of this machine."""

    def __init__(self, front: DeploymentHandle) -> None:
        self._front = front

    async def ask(self, what: str, *arguments: Any) -> Any:
        """By a handle."""
        return await self._front.options(method_name=what).remote(*arguments)


Strike = Callable[[Arena, Member], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens to a replica: it does so in the block of `strike`, and is over after it.

    If the fault `loses` calls, those that may not run twice fail that were there; all calls have
    their outcomes within `seconds`. If it `restarts` the replica, that is another process later.
    """

    name: str
    strike: Strike
    seconds: float
    loses: bool = False
    restarts: bool = False

    def __str__(self) -> str:
        return self.name


async def suffer(arena: Arena, fault: Fault, situation: Situation) -> None:
    """Let one replica suffer a fault in a situation, and check every promise."""
    for _ in range(TRIES):
        late = await _suffer_once(arena, fault, situation)
        if max(late.values()) < fault.seconds:
            return
    raise AssertionError(f"not within {fault.seconds} s of {fault}: {late}")


async def _suffer_once(arena: Arena, fault: Fault, situation: Situation) -> dict[str, float]:
    """Check all but how long each call took from the fault to its outcome, which is returned."""
    attacked = "consumer" if situation == "consuming" else "producer"
    before = {name: await arena.members(name) for name in ("producer", "consumer")}
    gate, calls = new_id(), None
    held: Mapping[str, Sequence[str]] = {}
    victim = next(iter(before[attacked].values()))
    if situation != "idle":
        calls = asyncio.create_task(arena.ask(situation, gate, COUNT))
        count = COUNT if situation == "streaming" else 2 * COUNT
        held = await arena.ask("until_entered", gate, count)
        victim = before[attacked][max(held, key=lambda name: len(held[name]))]
    async with fault.strike(arena, victim):
        struck = time.time()
        if calls is None:
            calls = asyncio.create_task(arena.ask(situation, gate, COUNT))
        else:
            await arena.ask("open", gate)
        outcomes = await calls
        if situation == "idle":
            # Whoever was there has noticed by now: nothing more is lost.
            _check_all_right(await arena.ask("idle", "", COUNT))
    _check_outcomes(outcomes, fault, situation, set(held.get(victim.replica, ())))
    _check_runs(await arena.ask("count_runs", gate), fault)
    await _check_recovery(arena, fault, victim, before)
    return {each["key"]: each["ended"] - struck for each in outcomes}


def _check_outcomes(
    outcomes: Sequence[Mapping[str, Any]], fault: Fault, situation: Situation, there: set[str]
) -> None:
    """Idempotent calls are answered; others, if the replica had them, fail with the right type."""
    for each in outcomes:
        may_run_again = each["key"].split()[0] in _IDEMPOTENT
        if may_run_again or not fault.loses:
            allowed = {"right"}
        elif situation == "idle":
            allowed = {"right", *_LOST[situation]}
        elif each["key"] in there:
            allowed = _LOST.get(situation, {"ReplicaLostError"})
        else:
            allowed = {"right"}
        assert each["outcome"] in allowed, each


def _check_all_right(outcomes: Sequence[Mapping[str, Any]]) -> None:
    assert [each for each in outcomes if each["outcome"] != "right"] == []


def _check_runs(runs: Mapping[str, int], fault: Fault) -> None:
    """Nothing ran twice that may not, and nothing at all where nothing was lost."""
    again = {key for key, count in runs.items() if count > 1}
    allowed = {key for key in again if fault.loses and key.split()[0] in _IDEMPOTENT}
    assert again == allowed


async def _check_recovery(
    arena: Arena, fault: Fault, victim: Member, before: Mapping[str, Mapping[str, Member]]
) -> None:
    """The replica serves again, and nobody else was restarted for it."""
    async with asyncio.timeout(_RECOVERY):
        now = await arena.until_answers(victim)
        while fault.restarts and now.life == victim.life:
            now = await arena.until_answers(victim)
        after = {name: await arena.members(name) for name in before}
    lives = {each.life for members in after.values() for each in members.values()}
    expected = {each.life for members in before.values() for each in members.values()}
    if fault.restarts:
        expected = expected - {victim.life} | {now.life}
    assert lives == expected
