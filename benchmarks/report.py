"""What a run has found: medians, the expectations they are held against, a table and JSON."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.measure import Figures
from benchmarks.plan import Plan

RAW_UNARY, RAW_BIDI = "raw unary", "raw bidi"
# As a link has to be: many callers on one stream.
RAW_MULTIPLEXED = "raw multiplexed"
# With the poller that the mesh chooses for its processes.
RAW_TUNED = "raw bidi, mesh's poller"
MESH, DRIVER, TLS = "mesh", "mesh, from driver", "mesh, mTLS on TCP"
_NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """A figure that the project promises, and what was read."""

    what: str
    read: float
    limit: float
    at_least: bool

    @property
    def met(self) -> bool:
        """Whether what was read is within the limit."""
        return self.read >= self.limit if self.at_least else self.read <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All figures of one run."""

    plan: Plan
    subjects: Mapping[str, Figures]
    startup_s: float
    uss_idle_mb: float
    uss_loaded_mb: float
    machine: Mapping[str, str] = field(default_factory=lambda: describe_machine())

    def expectations(self) -> list[Expectation]:
        """What the project expects of them."""
        mesh, unary, bidi = (self.subjects[name] for name in (MESH, RAW_UNARY, RAW_BIDI))
        ratio = mesh.calls[100] / unary.calls[100]
        latency = mesh.p50_us / bidi.p50_us
        stream = min(mesh.items.values())
        memory = max(self.uss_idle_mb, self.uss_loaded_mb)
        rows = [
            ("calls/s at 100 callers, × raw unary", ratio, 10.0, True),
            ("sequential p50, × raw bidi", latency, 1.25, False),
            ("streamed items/s", stream, 100_000.0, True),
            ("start to first answer, s", self.startup_s, 1.5, False),
            ("USS of a replica, MB", memory, 60.0, False),
        ]
        return [
            Expectation(what=what, read=read, limit=limit, at_least=at_least)
            for what, read, limit, at_least in rows
        ]

    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "machine": dict(self.machine),
            "plan": asdict(self.plan),
            "subjects": {name: asdict(figures) for name, figures in self.subjects.items()},
            "startup_s": self.startup_s,
            "uss_mb": {"idle": self.uss_idle_mb, "loaded": self.uss_loaded_mb},
            "expectations": [{**asdict(e), "met": e.met} for e in self.expectations()],
        }

    def text(self) -> str:
        """Everything, as aligned Markdown; in brackets how many times raw unary's figure it is."""
        machine = " · ".join(f"{key} {value}" for key, value in self.machine.items())
        return "\n\n".join([machine, self._subject_table(), self._expectation_table()])

    def _subject_table(self) -> str:
        names = list(self.subjects)
        rows = [["", *names]]
        rows += [
            [what, *self._row(read, digits=digits)] for what, read, digits in _figures(self.plan)
        ]
        return _aligned(rows)

    def _row(self, read: Callable[[Figures], float | None], digits: int) -> list[str]:
        """Each subject's figure, and how many times raw unary's that is."""
        base = read(self.subjects[RAW_UNARY])
        return [_cell(read(figures), base, digits) for figures in self.subjects.values()]

    def _expectation_table(self) -> str:
        rows = [["expected", "limit", "read", "met"]]
        rows += [
            [e.what, f"{'≥' if e.at_least else '≤'} {e.limit:,g}", _number(e.read, 2), _yes(e.met)]
            for e in self.expectations()
        ]
        return _aligned(rows)


def _figures(plan: Plan) -> list[tuple[str, Callable[[Figures], float | None], int]]:
    """The rows of the table: what, how it is read, and digits after the point."""

    def calls(callers: int) -> Callable[[Figures], float | None]:
        return lambda figures: figures.calls.get(callers)

    def items(kind: str) -> Callable[[Figures], float | None]:
        return lambda figures: figures.items.get(kind)

    def megabytes(size: int) -> Callable[[Figures], float | None]:
        return lambda figures: figures.megabytes.get(size)

    return [
        ("one caller, p50 µs", lambda figures: figures.p50_us, 0),
        ("one caller, p99 µs", lambda figures: figures.p99_us, 0),
        *((f"calls/s, {n} caller{'s' * (n > 1)}", calls(n), 0) for n in plan.callers),
        *((f"streamed {kind}s/s", items(kind), 0) for kind in ("int", "str")),
        *((f"{size} MB echo, MB/s each way", megabytes(size), 0) for size in plan.sizes_mb),
    ]


def _cell(value: float | None, base: float | None, digits: int) -> str:
    if value is None:
        return _NOTHING
    ratio = "" if not base or value == base else f" (× {value / base:.2f})"
    return _number(value, digits) + ratio


def _number(value: float, digits: int) -> str:
    return f"{value:,.{digits}f}"


def _yes(met: bool) -> str:
    return "yes" if met else "no"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [_line(row, widths) for row in rows]
    rule = "|".join(["-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:])])
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
    return f"| {' | '.join(cells)} |"


def median_of(rounds: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(
        p50_us=statistics.median(one.p50_us for one in rounds),
        p99_us=statistics.median(one.p99_us for one in rounds),
        calls=_medians([one.calls for one in rounds]),
        items=_medians([one.items for one in rounds]),
        megabytes=_medians([one.megabytes for one in rounds]),
    )


def _medians(rounds: Sequence[dict[Any, float]]) -> dict[Any, float]:
    return {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}


def describe_machine() -> dict[str, str]:
    """What the figures were read on."""
    return {
        "CPU": _cpu(),
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "grpcio": version("grpcio"),
        "protobuf": version("protobuf"),
    }


def _cpu() -> str:
    lines: Iterable[str] = ()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0]}, {len(models)} cores" if models else platform.machine()
