"""Measures one subject: whatever echoes a payload, streams items, and echoes large arrays."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.plan import PAYLOAD, Plan

Echo = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured. Without `stream`, `array` or both, those figures are left out."""

    echo: Echo
    # Kind of item ("int" or "str") and how many → the items.
    stream: Callable[[str, int], AsyncIterator[Any]] | None = None
    # Size in bytes → what is echoed at that size.
    array: Callable[[int], Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One round of one subject. Rates are per second."""

    p50_us: float
    p99_us: float
    calls: dict[int, float]
    items: dict[str, float] = field(default_factory=dict)
    # Megabytes each way, by the size of the array in MB.
    megabytes: dict[int, float] = field(default_factory=dict)


async def measure(subject: Subject, plan: Plan) -> Figures:
    """One round."""
    for _ in range(plan.warm_up):
        await subject.echo(PAYLOAD)
    times = await _sequential(subject.echo, plan.sequential)
    return Figures(
        p50_us=statistics.median(times) * 1e6,
        p99_us=statistics.quantiles(times, n=100)[98] * 1e6,
        calls={n: await concurrent(subject.echo, n, plan.seconds) for n in plan.callers},
        items={} if subject.stream is None else await _items(subject.stream, plan.items),
        megabytes={} if subject.array is None else await _large(subject, subject.array, plan),
    )


async def _sequential(echo: Echo, count: int) -> list[float]:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await echo(PAYLOAD)
        times.append(time.perf_counter() - began)
    return times


async def concurrent(echo: Echo, callers: int, seconds: float) -> float:
    """Calls per second, each caller with one call at a time."""
    began = time.perf_counter()
    end = began + seconds

    async def caller() -> int:
        done = 0
        # Each one calls at least once, however short the time.
        while not done or time.perf_counter() < end:
            await echo(PAYLOAD)
            done += 1
        return done

    done = await asyncio.gather(*(caller() for _ in range(callers)))
    return sum(done) / (time.perf_counter() - began)


async def _items(stream: Callable[[str, int], AsyncIterator[Any]], count: int) -> dict[str, float]:
    rates = {}
    for kind in ("int", "str"):
        began = time.perf_counter()
        seen = 0
        async for _ in stream(kind, count):
            seen += 1
        assert seen == count
        rates[kind] = count / (time.perf_counter() - began)
    return rates


async def _large(subject: Subject, array: Callable[[int], Any], plan: Plan) -> dict[int, float]:
    rates = {}
    for size in plan.sizes_mb:
        value = array(size * 1_000_000)
        calls = max(1, plan.volume_mb // size)
        await subject.echo(value)
        began = time.perf_counter()
        for _ in range(calls):
            await subject.echo(value)
        rates[size] = calls * size / (time.perf_counter() - began)
    return rates
