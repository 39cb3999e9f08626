"""Responses that are passed on against awaited calls, in one run: `python -m benchmarks.chaining`.

Five deployments in a row and an ingress that calls them, as local processes. Each round measures
one way after the other, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import describe_machine
from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

RESULTS = Path(__file__).parent / "chaining.json"
_STEPS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """How much one run measures."""

    rounds: int = 5
    chains: int = 500
    fan_ins: int = 50
    width: int = 100
    large_mb: int = 64
    larges: int = 2
    # Chained calls whose tokens are looked for afterwards.
    soak: int = 100_000


FULL = Amounts()
QUICK = Amounts(rounds=1, chains=5, fan_ins=1, width=10, large_mb=1, larges=1, soak=100)


class Step:
    """One link of a chain."""

    async def add(self, number: int) -> int:
        """One more."""
        return number + 1

    async def make(self, size: int) -> Any:
        """An array of so many bytes."""
        import numpy as np

        return np.zeros(size, dtype=np.uint8)

    async def count(self, *values: Any) -> int:
        """How many bytes arrays have, or how many other values there are."""
        return sum(int(getattr(value, "nbytes", 1)) for value in values)


class Ingress:
    """Measures both ways from inside of the mesh."""

    def __init__(self, steps: list[DeploymentHandle]) -> None:
        self._steps = steps

    async def awaited(self, count: int) -> list[float]:
        """Seconds of chains, each call awaited before the next."""
        return await _times(self._await_each, count)

    async def _await_each(self) -> None:
        number = 0
        for step in self._steps:
            number = await step.add.remote(number)
        assert number == len(self._steps)

    async def chained(self, count: int) -> list[float]:
        """Seconds of chains, each response passed on to the next call."""
        return await _times(self._pass_each_on, count)

    async def _pass_each_on(self) -> None:
        response: Any = 0
        for step in self._steps:
            response = step.add.remote(response)
        assert await response == len(self._steps)

    async def fan_in(self, count: int, width: int) -> list[float]:
        """Seconds of so many responses passed to one call."""

        async def once() -> None:
            responses = [self._steps[at % 4].add.remote(at) for at in range(width)]
            assert await self._steps[4].count.remote(*responses) == width

        return await _times(once, count)

    async def gathered(self, count: int, width: int) -> list[float]:
        """The same with the values awaited here and sent on."""

        async def once() -> None:
            calls = (self._steps[at % 4].add.remote(at) for at in range(width))
            values = await asyncio.gather(*calls)
            assert await self._steps[4].count.remote(*values) == width

        return await _times(once, count)

    async def large_chained(self, count: int, size: int) -> list[float]:
        """Seconds of a large value from one deployment to another."""

        async def once() -> None:
            made = self._steps[0].make.remote(size)
            assert await self._steps[1].count.remote(made) == size

        return await _times(once, count)

    async def large_awaited(self, count: int, size: int) -> list[float]:
        """The same by way of this process."""

        async def once() -> None:
            made = await self._steps[0].make.remote(size)
            assert await self._steps[1].count.remote(made) == size

        return await _times(once, count)

    async def soak(self, count: int) -> float:
        """Chained pairs per second, a hundred at a time."""
        began = time.perf_counter()

        async def pairs() -> None:
            for number in range(count // 100):
                one = self._steps[0].add.remote(number)
                assert await self._steps[1].add.remote(one) == number + 2

        await asyncio.gather(*(pairs() for _ in range(100)))
        return count / (time.perf_counter() - began)


async def _times(once: Callable[[], Awaitable[None]], count: int) -> list[float]:
    await once()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        await once()
        times.append(time.perf_counter() - began)
    return times


def _app() -> serve.Application:
    many = serve.deployment(max_ongoing_requests=10_000)
    steps = [many(Step).options(name=f"Step{number}").bind() for number in range(_STEPS)]
    return many(Ingress).bind(steps)


def run(amounts: Amounts) -> dict[str, Any]:
    """All figures: seconds as medians of medians, rates, and what was left over."""
    serve.start({"port": 0})
    try:
        ingress = serve.run(_app(), name="chaining", route_prefix=None)
        rounds = [_round(ingress, amounts) for _ in range(amounts.rounds)]
        rate = ingress.soak.remote(amounts.soak).result()
        return {
            "machine": dict(describe_machine()),
            "amounts": asdict(amounts),
            "seconds": {
                name: statistics.median(each[name] for each in rounds) for name in rounds[0]
            },
            "chained_pairs_per_s": rate,
            "values_left": _values_left(),
        }
    finally:
        serve.shutdown()


def _round(ingress: DeploymentHandle, amounts: Amounts) -> dict[str, float]:
    size = amounts.large_mb * 1_000_000
    calls: dict[str, tuple[Any, ...]] = {
        "awaited": (amounts.chains,),
        "chained": (amounts.chains,),
        "gathered": (amounts.fan_ins, amounts.width),
        "fan_in": (amounts.fan_ins, amounts.width),
        "large_awaited": (amounts.larges, size),
        "large_chained": (amounts.larges, size),
    }
    return {
        name: statistics.median(getattr(ingress, name).remote(*given).result())
        for name, given in calls.items()
    }


def _values_left() -> int:
    """What the replicas still keep, once their supervisor has heard of it."""
    for _ in range(20):
        left = sum(
            replica.stored_values
            for overview in serve.status().applications.values()
            for deployment in overview.deployments.values()
            for replica in deployment.replicas
        )
        if not left:
            return 0
        time.sleep(0.2)
    return left


def table(found: dict[str, Any]) -> str:
    """The figures for a terminal."""
    seconds, amounts = found["seconds"], found["amounts"]
    rows = [
        (f"chain of {_STEPS}, p50", "awaited", "chained"),
        (f"{amounts['width']} results into one call, p50", "gathered", "fan_in"),
        (f"{amounts['large_mb']} MB from one to the next", "large_awaited", "large_chained"),
    ]
    lines = ["| | awaited | passed on | ratio |", "|---|---:|---:|---:|"]
    for what, awaited, passed in rows:
        one, other = seconds[awaited] * 1e3, seconds[passed] * 1e3
        lines.append(f"| {what} | {one:.2f} ms | {other:.2f} ms | {other / one:.2f} |")
    lines += [
        "",
        f"{amounts['soak']} chained pairs at {found['chained_pairs_per_s']:.0f}/s left "
        f"{found['values_left']} values behind.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaining", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few seconds; says little")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    arguments = parser.parse_args()
    found = run(QUICK if arguments.quick else FULL)
    print(table(found))
    arguments.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
