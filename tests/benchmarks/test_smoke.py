"""The benchmark runs, and tells all that it is meant to tell."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import Figures
from benchmarks.plan import QUICK
from benchmarks.report import (
    DRIVER,
    MESH,
    RAW_BIDI,
    RAW_MULTIPLEXED,
    RAW_TUNED,
    RAW_UNARY,
    TLS,
    Report,
    median_of,
)

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """What a quick run prints, and the JSON it writes."""
    results = tmp_path_factory.mktemp("benchmark") / "results.json"
    command = [sys.executable, "-m", "benchmarks.handle_calls", "--quick", "--json", str(results)]
    ran = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300
    )
    return ran.stdout, json.loads(results.read_text())


@pytest.mark.slow
def test_a_quick_run_measures_every_subject(quick_run: tuple[str, dict[str, Any]]) -> None:
    """Each subject has latencies, a rate for each number of callers, and no figure is nothing."""
    _, document = quick_run
    assert list(document["subjects"]) == [
        RAW_UNARY,
        RAW_BIDI,
        RAW_MULTIPLEXED,
        RAW_TUNED,
        MESH,
        DRIVER,
        TLS,
    ]
    for figures in document["subjects"].values():
        assert list(figures["calls"]) == ["1", "10", "100", "1000"]
        assert min(figures["p50_us"], *figures["calls"].values()) > 0
        assert figures["p50_us"] <= figures["p99_us"]


@pytest.mark.slow
def test_a_quick_run_measures_streams_arrays_start_and_memory(
    quick_run: tuple[str, dict[str, Any]],
) -> None:
    """What the project expects can be read off the JSON."""
    _, document = quick_run
    assert set(document["subjects"][MESH]["items"]) == {"int", "str"}
    assert set(document["subjects"][TLS]["megabytes"]) == {"1"}
    assert document["startup_s"] > 0
    assert min(document["uss_mb"].values()) > 5
    assert len(document["expectations"]) == 5


@pytest.mark.slow
def test_a_quick_run_prints_an_aligned_table(quick_run: tuple[str, dict[str, Any]]) -> None:
    """All lines of a table are equally long, so that it reads in a terminal too."""
    printed, _ = quick_run
    tables = [part.splitlines() for part in printed.strip().split("\n\n")[1:]]
    assert [len({len(line) for line in table}) for table in tables] == [1, 1]


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """One disturbed round moves nothing."""
    rounds = [Figures(p50_us=p50, p99_us=9.0, calls={1: p50 * 2}) for p50 in (1.0, 90.0, 2.0)]
    found = median_of(rounds)
    assert (found.p50_us, found.calls) == (2.0, {1: 4.0})


def _report(mesh_rate: float) -> Report:
    raw = Figures(p50_us=100.0, p99_us=200.0, calls={100: 1000.0})
    mesh = Figures(p50_us=125.0, p99_us=1.0, calls={100: mesh_rate}, items={"int": 100_000.0})
    return Report(
        plan=QUICK,
        subjects={RAW_UNARY: raw, RAW_BIDI: raw, MESH: mesh},
        startup_s=1.5,
        uss_idle_mb=20.0,
        uss_loaded_mb=60.0,
    )


@pytest.mark.parametrize(("rate", "met"), [(10_000.0, True), (9_999.0, False)])
def test_an_expectation_is_met_at_its_limit_and_missed_beyond(rate: float, met: bool) -> None:
    """Ratios are taken against raw gRPC of the same run."""
    expectations = _report(rate).expectations()
    assert [e.met for e in expectations] == [met, True, True, True, True]


@pytest.mark.slow
def test_a_quick_run_of_the_chains_measures_and_leaves_nothing(tmp_path: Path) -> None:
    """Both ways of each comparison, and no value is left at any replica."""
    results = tmp_path / "chaining.json"
    command = [sys.executable, "-m", "benchmarks.chaining", "--quick", "--json", str(results)]
    ran = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300
    )
    document = json.loads(results.read_text())
    assert document["values_left"] == 0
    assert min(document["seconds"].values()) > 0
    assert len(document["seconds"]) == 6
    assert "| chain of 5, p50 |" in ran.stdout


@pytest.mark.slow
def test_a_quick_run_of_the_typed_calls_compares_them_with_ones_by_hand(tmp_path: Path) -> None:
    """At the replica and through the gateway."""
    results = tmp_path / "typed.json"
    command = [sys.executable, "-m", "benchmarks.typed_calls", "--quick", "--json", str(results)]
    ran = subprocess.run(
        command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, timeout=300
    )
    document = json.loads(results.read_text())
    assert len(document["p50_us"]) == 6 and min(document["p50_us"].values()) > 0
    assert len(document["ratios"]) == 5
    assert "| typed, through the gateway |" in ran.stdout
