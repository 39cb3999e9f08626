"""Slots of a replica: who gets the next one that is free."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshgen.runtime.occupancy import Occupancy


@pytest.fixture
async def full() -> AsyncIterator[Occupancy]:
    """Two slots, both taken."""
    occupancy = Occupancy(2, lambda: False)
    occupancy.open = True
    assert occupancy.admit() and occupancy.admit()
    yield occupancy


class Callers:
    """Those who were sent away, and what they were told."""

    def __init__(self, occupancy: Occupancy) -> None:
        self._occupancy = occupancy
        self.told: list[str] = []

    def a(self) -> None:
        """One of them."""
        self.told.append("a")

    def b(self) -> None:
        """Another."""
        self.told.append("b")


async def test_a_full_replica_refuses(full: Occupancy) -> None:
    """Strictly: the slot of a call is free when that has ended."""
    assert not full.admit()
    full.release()
    assert full.admit() and not full.admit()


async def test_callers_that_were_sent_away_are_told_in_their_order(full: Occupancy) -> None:
    """Each of one slot, and once, however many of its calls were refused."""
    callers = Callers(full)
    full.send_away(callers.a)
    full.send_away(callers.b)
    full.send_away(callers.a)
    full.release()
    assert callers.told == ["a"]
    full.release()
    assert callers.told == ["a", "b"]
    assert full.admit()
    full.release()
    assert callers.told == ["a", "b"]


async def test_a_caller_that_has_gone_is_not_told(full: Occupancy) -> None:
    """The next one is."""
    callers = Callers(full)
    full.send_away(callers.a)
    full.send_away(callers.b)
    full.forget(callers.a)
    full.release()
    assert callers.told == ["b"]


async def test_a_replica_that_leaves_tells_nobody_of_room(full: Occupancy) -> None:
    """It has none."""
    callers = Callers(full)
    full.send_away(callers.a)
    full.close()
    full.release()
    assert callers.told == []


async def test_a_call_with_its_values_does_not_wait_for_a_slot_for_ever() -> None:
    """Those that have the slots may wait for it: it is sent elsewhere, and gets no slot later."""
    occupancy = Occupancy(1, lambda: False, patience=0.01)
    occupancy.open = True
    assert occupancy.admit()
    assert not await occupancy.slot()
    occupancy.release()
    assert occupancy.ongoing == 0
