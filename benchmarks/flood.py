"""Ten times as many calls as can be run, and what becomes of them."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

_TIMES = 10
# Calls are made in batches, so many a second.
_BATCHES = 500
# At least so much of the peak is answered, and all refusals but one in a hundred come in time; in
# the end the processes have no more memory than this many times what they had after a second.
KEEPS, REFUSED_MS, GROWTH = 0.9, 50.0, 1.1

# True where it was answered, False where it was refused.
Ask = Callable[[], Awaitable[bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was read of one way to call. Rates are per second, memory is that of all processes."""

    peak: float
    offered: float
    answered: float
    refused: float
    refusal_p50_ms: float
    refusal_p99_ms: float
    mb_after_a_second: float
    mb_at_the_end: float

    @property
    def kept(self) -> bool:
        """Whether overload does not collapse."""
        return (
            self.answered >= KEEPS * self.peak
            and self.refusal_p99_ms <= REFUSED_MS
            and self.mb_at_the_end <= GROWTH * self.mb_after_a_second
        )


async def peak(ask: Ask, callers: int, seconds: float) -> float:
    """Answers per second to so many callers."""
    began = time.perf_counter()

    async def caller() -> int:
        done = 0
        while time.perf_counter() < began + seconds:
            done += await ask()
        return done

    done = await asyncio.gather(*(caller() for _ in range(callers)))
    return sum(done) / (time.perf_counter() - began)


@dataclass
class Flood:
    """Calls at a steady rate, whatever becomes of them."""

    ask: Ask
    answers: int = 0
    refusals: list[float] = field(default_factory=list)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, rate: float) -> None:
        """Make calls until this is cancelled, and let the last ones end."""
        began = time.perf_counter()
        made = 0
        try:
            while True:
                # As many as are due: behind its time, a batch is larger.
                due = int(rate * (time.perf_counter() - began))
                self._make(due - made)
                made = due
                await asyncio.sleep(1 / _BATCHES)
        finally:
            await asyncio.gather(*self._calls)

    def _make(self, count: int) -> None:
        for _ in range(count):
            task = asyncio.create_task(self._one())
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _one(self) -> None:
        began = time.perf_counter()
        if await self.ask():
            self.answers += 1
        else:
            self.refusals.append(time.perf_counter() - began)


async def measure(ask: Ask, slots: int, seconds: float) -> Figures:
    """One way to call; the first second of the flood does not count."""
    await peak(ask, slots, 1.0)
    best = await peak(ask, slots, seconds)
    flood = Flood(ask)
    making = asyncio.create_task(flood.run(_TIMES * best))
    await asyncio.sleep(1)
    before = _megabytes()
    flood.answers, flood.refusals = 0, []
    began = time.perf_counter()
    await asyncio.wait([making], timeout=seconds)
    took, answers, refusals = time.perf_counter() - began, flood.answers, flood.refusals[:]
    after = _megabytes()
    making.cancel()
    with suppress(asyncio.CancelledError):
        await making
    hundredths = statistics.quantiles(refusals, n=100)
    return Figures(
        peak=best,
        offered=(answers + len(refusals)) / took,
        answered=answers / took,
        refused=len(refusals) / took,
        refusal_p50_ms=hundredths[49] * 1e3,
        refusal_p99_ms=hundredths[98] * 1e3,
        mb_after_a_second=before,
        mb_at_the_end=after,
    )


def _megabytes() -> float:
    """Unique memory of this process and of all of the mesh's."""
    own = psutil.Process()
    return sum(each.memory_full_info().uss for each in (own, *own.children())) / 1e6
