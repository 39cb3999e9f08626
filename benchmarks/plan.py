"""How much of what one run of the benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass

# Every small call carries this, both ways.
PAYLOAD = bytes(range(100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`rounds` times, all subjects after one another; a figure is the median of its rounds."""

    rounds: int = 5
    warm_up: int = 500
    sequential: int = 2000
    callers: tuple[int, ...] = (1, 10, 100, 1000)
    seconds: float = 0.6
    items: int = 50_000
    sizes_mb: tuple[int, ...] = (1, 8, 64)
    # How many MB are echoed for each size, in as many calls as that takes.
    volume_mb: int = 64
    starts: int = 5


FULL = Plan()
# Shows that everything runs; its figures mean nothing.
QUICK = Plan(
    rounds=1,
    warm_up=20,
    sequential=50,
    seconds=0.05,
    items=2000,
    sizes_mb=(1,),
    volume_mb=1,
    starts=1,
)
