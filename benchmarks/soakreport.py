"""What a soak has seen, held against what is promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.report import describe_machine

# What calls that may not run twice end with when their replica was killed.
_LOSSES = frozenset({"ReplicaLostError", "ObjectLostError"})
# No failures; the first is what all should be.
_NO_FAILURES = frozenset({"right", "wrong", "hang"})
# The last seconds' memory is compared with the second minute's; how much more it may be. The least
# of each counts: the rest comes and goes with values that are on their way.
_SECOND_MINUTE = (60.0, 120.0)
_LAST = 20.0
_GROWTH = 1.10


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Something that must not be more than `limit`."""

    what: str
    read: float
    limit: float

    @property
    def kept(self) -> bool:
        """Whether it is not."""
        return self.read <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakReport:
    """Everything that was counted. Outcomes are by kind of call, and then by what came of it."""

    seconds: float
    kills: int
    scalings: int
    outcomes: Mapping[str, Mapping[str, int]]
    # The kinds of calls that must never be lost.
    saved: Sequence[str]
    # The application whose replicas were killed and replaced.
    attacked: str
    # Megabytes by process, after so many seconds.
    memory: Sequence[tuple[float, Mapping[str, float]]]
    held_before: Mapping[str, int]
    held_after: Mapping[str, int]
    machine: Mapping[str, str] = field(default_factory=describe_machine)

    @property
    def kept(self) -> bool:
        """Whether every promise was."""
        return all(promise.kept for promise in self.promises())

    @property
    def calls(self) -> int:
        """How many calls there were."""
        return sum(sum(each.values()) for each in self.outcomes.values())

    def promises(self) -> list[Promise]:
        """All of them."""
        losses = self._failures(self.saved, frozenset())
        strange = self._failures(self.outcomes, _LOSSES)
        return [
            Promise(what="wrong answers", read=self._ended("wrong"), limit=0),
            Promise(what="calls that hang", read=self._ended("hang"), limit=0),
            Promise(
                what="calls lost that are idempotent or were not attacked", read=losses, limit=0
            ),
            Promise(what="calls that failed for another reason", read=strange, limit=0),
            *self._memory_promises(),
            *(
                Promise(what=what, read=self.held_after[what], limit=limit)
                for what, limit in self.held_before.items()
            ),
        ]

    def _ended(self, outcome: str) -> int:
        return sum(each.get(outcome, 0) for each in self.outcomes.values())

    def _failures(self, kinds: Sequence[str] | Mapping[str, Any], but: frozenset[str]) -> int:
        """How many calls of some kinds failed with an error that is none of those."""
        fine = _NO_FAILURES | but
        counts = [self.outcomes.get(kind, {}) for kind in kinds]
        return sum(n for each in counts for what, n in each.items() if what not in fine)

    def _memory_promises(self) -> list[Promise]:
        """Of the processes that live as long as the soak; none if that is too short to tell."""
        second, last = self._memory()
        return [
            Promise(what=f"MB of {name}", read=round(mb, 1), limit=round(second[name] * _GROWTH, 1))
            for name, mb in last.items()
            if second and not name.startswith(self.attacked)
        ]

    def _memory(self) -> tuple[dict[str, float], dict[str, float]]:
        """Megabytes in the second minute, and in the last seconds."""
        second = self._least(*_SECOND_MINUTE)
        return second, self._least(max(_SECOND_MINUTE[1], self.seconds - _LAST))

    def _least(self, begin: float, end: float = float("inf")) -> dict[str, float]:
        found = [each for at, each in self.memory if begin <= at < end]
        names = found[-1] if found else ()
        return {name: min(each[name] for each in found if name in each) for name in names}

    def document(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "machine": dict(self.machine),
            "seconds": round(self.seconds, 1),
            "calls": self.calls,
            "calls_per_s": round(self.calls / self.seconds),
            "kills": self.kills,
            "scalings": self.scalings,
            "outcomes": {kind: dict(each) for kind, each in self.outcomes.items()},
            "mb_in_second_minute_and_at_the_end": self._memory(),
            "promises": [{**asdict(each), "kept": each.kept} for each in self.promises()],
        }

    def text(self) -> str:
        """Everything, as Markdown."""
        rate = self.calls / self.seconds
        return "\n\n".join(
            [
                f"{self.calls:,} calls in {self.seconds:.0f} s ({rate:,.0f}/s), "
                f"{self.kills} replicas killed, scaled {self.scalings} times.",
                self._outcome_table(),
                self._promise_table(),
            ]
        )

    def _outcome_table(self) -> str:
        ways = sorted({what for each in self.outcomes.values() for what in each} - {"right"})
        rows = [
            [kind, *(f"{self.outcomes[kind].get(way, 0):,}" for way in ("right", *ways))]
            for kind in sorted(self.outcomes)
        ]
        return _table(["calls", "right", *ways], rows)

    def _promise_table(self) -> str:
        rows = [
            [each.what, f"{each.limit:,g}", f"{each.read:,g}", "yes" if each.kept else "**no**"]
            for each in self.promises()
        ]
        return _table(["promised", "at most", "read", "kept"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(["---", *("---:" for _ in head[1:])])
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, *rows)).replace(
        "\n", f"\n|{rule}|\n", 1
    )
