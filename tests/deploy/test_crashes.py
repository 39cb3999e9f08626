"""Ends in a row, and the rests between them."""

from __future__ import annotations

from meshgen.deploy.crashes import Crashes, Pace


def test_rests_double_and_the_fifth_end_is_a_crash_loop() -> None:
    """From then on it is the longest one each time."""
    crashes = Crashes(Pace())
    rests = []
    for _ in range(4):
        rests.append(crashes.add(1.0))
        assert not crashes.is_loop
    assert rests == [0.1, 0.2, 0.4, 0.8]
    assert (crashes.add(10.0), crashes.is_loop, crashes.in_a_row) == (10.0, True, 5)
    assert (crashes.add(0.0), crashes.is_loop, crashes.in_a_row) == (10.0, True, 6)


def test_a_good_run_makes_it_the_first_end_again() -> None:
    """Also out of a crash loop."""
    crashes = Crashes(Pace())
    for _ in range(7):
        crashes.add(0.0)
    assert (crashes.add(10.1), crashes.is_loop, crashes.in_a_row) == (0.1, False, 1)


def test_no_rest_is_longer_than_the_longest() -> None:
    """Although there may be many before it counts as a loop."""
    crashes = Crashes(Pace(limit=1000, longest=3.0))
    assert max(crashes.add(0.0) for _ in range(100)) == 3.0
