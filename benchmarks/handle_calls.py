"""Calls through handles against plain grpc.aio, in one run: `python -m benchmarks.handle_calls`.

Each round measures all subjects after one another, so that a noisy machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures, measure
from benchmarks.mesh import handle_subject, mesh, unique_memory_mb
from benchmarks.multiplexed import measure_multiplexed
from benchmarks.plan import FULL, QUICK, Plan
from benchmarks.poller import STOCK, chosen
from benchmarks.raw import measure_bidi, measure_unary, raw_server
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
from benchmarks.startup import start_once
from benchmarks.tls import measure_tls, tls_server
from meshgen.serve.handle import DeploymentHandle

RESULTS = Path(__file__).parent / "results.json"
Rounds = dict[str, list[Figures]]
RunRound = Callable[[], Figures]


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handle_calls", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few seconds; its figures say little"
    )
    parser.add_argument("--json", type=Path, default=RESULTS, help="where to write the figures")
    arguments = parser.parse_args()
    report = run(QUICK if arguments.quick else FULL)
    print(report.text())
    arguments.json.write_text(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")


def run(plan: Plan) -> Report:
    """The whole benchmark."""
    starts = [start_once() for _ in range(plan.starts)]
    rounds, loaded = _measure_subjects(plan)
    return Report(
        plan=plan,
        subjects={name: median_of(each) for name, each in rounds.items()},
        startup_s=statistics.median(start["seconds"] for start in starts),
        uss_idle_mb=max(max(start["uss_mb"].values()) for start in starts),
        uss_loaded_mb=loaded,
    )


def _measure_subjects(plan: Plan) -> tuple[Rounds, float]:
    """All rounds, and the largest replica's unique memory after small calls."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tuned = os.environ.get("GRPC_EXPERIMENTS", STOCK)  # the mesh set it, or the user
        raw = stack.enter_context(raw_server(str(folder), STOCK))
        raw_tuned = stack.enter_context(raw_server(str(folder), tuned))
        tls = stack.enter_context(tls_server(folder))
        caller, echo = stack.enter_context(mesh())
        loaded = _memory_under_load(caller, plan)
        subjects: dict[str, RunRound] = {
            RAW_UNARY: lambda: _fresh(STOCK, measure_unary, raw, plan),
            RAW_BIDI: lambda: _fresh(STOCK, measure_bidi, raw, plan),
            RAW_MULTIPLEXED: lambda: _fresh(STOCK, measure_multiplexed, raw, plan),
            RAW_TUNED: lambda: _fresh(tuned, measure_bidi, raw_tuned, plan),
            MESH: lambda: caller.measure.remote(plan).result(),
            DRIVER: lambda: asyncio.run(measure(handle_subject(echo), plan)),
            TLS: lambda: _fresh(tuned, measure_tls, folder, tls, plan),
        }
        return _interleaved(subjects, plan.rounds), loaded


def _fresh(experiments: str, run_round: Callable[..., Figures], *arguments: Any) -> Figures:
    """One round in a process of its own, as replicas are.

    A gRPC client is slower where another event loop of its process uses gRPC too.
    """
    with (
        chosen(experiments),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process,
    ):
        return process.submit(run_round, *arguments).result()


def _interleaved(subjects: dict[str, RunRound], count: int) -> Rounds:
    rounds: Rounds = {name: [] for name in subjects}
    for number in range(count):
        for name, run_round in subjects.items():
            print(f"round {number + 1} of {count}: {name} …", file=sys.stderr, flush=True)
            rounds[name].append(run_round())
    return rounds


def _memory_under_load(caller: DeploymentHandle, plan: Plan) -> float:
    # Before any large array: what an array takes is not what a replica takes.
    caller.load.remote(plan).result()
    return max(unique_memory_mb().values())


if __name__ == "__main__":
    main()
