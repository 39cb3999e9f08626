"""The ends of a process that came too soon, and how long it rests before it is started again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """When a process that has ended is started again; times in seconds.

    The rest before a restart doubles from `first` to `longest`. A process that ends `limit` times
    in a row, without having served for as long as `good_run` in between, is in a crash loop: it is
    tried again every `longest`.
    """

    first: float = 0.1
    longest: float = 10.0
    good_run: float = 10.0
    limit: int = 5


class Crashes:
    """Counts the ends in a row that no good run came before."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.in_a_row = 0

    @property
    def is_loop(self) -> bool:
        """Whether there were too many."""
        return self.in_a_row >= self.pace.limit

    def add(self, served_for: float) -> float:
        """Note an end after so many seconds of service; how long to rest now."""
        self.in_a_row = 1 if self.is_good(served_for) else self.in_a_row + 1
        if self.is_loop:
            return self.pace.longest
        return min(self.pace.longest, self.pace.first * 2.0 ** (self.in_a_row - 1))

    def is_good(self, served_for: float) -> bool:
        """Whether a run was long enough for those before it to be forgotten."""
        return served_for > self.pace.good_run
