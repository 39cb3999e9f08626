"""How often calls may be sent again."""

from __future__ import annotations

from meshgen.runtime.budget import Budget


def _spent(times: int) -> Budget:
    budget = Budget()
    for _ in range(times):
        budget.spend()
    return budget


def test_a_few_failures_are_made_up_for() -> None:
    """Fewer than half of the tokens."""
    assert _spent(4).allows


def test_many_failures_in_a_row_are_not() -> None:
    """The replicas fail: sending more would not help them."""
    assert not _spent(5).allows


def test_answers_make_up_for_failures() -> None:
    """Ten for each."""
    budget = _spent(5)
    budget.earn(9)
    budget.earn(2)
    assert budget.allows


def test_a_long_good_time_is_no_credit() -> None:
    """After a million answers as after none."""
    budget = Budget()
    budget.earn(1_000_000)
    for _ in range(5):
        budget.spend()
    assert not budget.allows


def test_a_long_bad_time_is_no_debt() -> None:
    """The first good minute counts in full."""
    budget = _spent(1000)
    budget.earn(51)
    assert budget.allows
