"""How often calls may be sent again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None)
@given(events=st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=200))
def test_repeats_are_a_share_of_the_answers(events: list[int | None]) -> None:
    """Four failures, and one for each ten answers; a long good time is no credit."""
    budget = Budget()
    answers = repeats = 0
    for event in events:
        if event is None:
            budget.spend()
            repeats += budget.allows
        else:
            budget.earn(event)
            answers += event
        assert 0 <= vars(budget)["_tokens"] <= 10
        assert repeats < 5 + answers / 10
