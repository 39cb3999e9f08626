"""Ten times as many calls as a replica can run."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.flood import Figures
from benchmarks.overload import run

# A machine that does something else meanwhile gets another chance.
_TRIES = 4


@pytest.mark.slow
@pytest.mark.alone
async def test_overload_does_not_collapse() -> None:
    """Nine tenths of the peak are answered, the rest is refused within 50 ms, memory stays flat."""
    for _ in range(_TRIES):
        async with asyncio.timeout(120):
            found = await run(3.0)
        broken = {way: figures for way, figures in found.items() if not _is_well(figures)}
        if not broken:
            return
    raise AssertionError(broken)


def _is_well(figures: Figures) -> bool:
    """Whether it was overloaded indeed, and did not collapse."""
    return figures.kept and figures.refused > 2 * figures.answered


def _figures(**changes: float) -> Figures:
    given = {
        "peak": 100.0,
        "offered": 1000.0,
        "answered": 90.0,
        "refused": 910.0,
        "refusal_p50_ms": 1.0,
        "refusal_p99_ms": 50.0,
        "mb_after_a_second": 100.0,
        "mb_at_the_end": 110.0,
    }
    return Figures(**{**given, **changes})


def test_what_is_at_its_limit_is_kept() -> None:
    """Nine tenths, 50 ms, and a tenth more memory."""
    assert _figures().kept


@pytest.mark.parametrize(
    "changes", [{"answered": 89.0}, {"refusal_p99_ms": 51.0}, {"mb_at_the_end": 111.0}]
)
def test_each_broken_promise_is_noticed(changes: dict[str, float]) -> None:
    """One is enough."""
    assert not _figures(**changes).kept
