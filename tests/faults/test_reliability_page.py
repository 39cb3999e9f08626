"""`docs/reliability.md` promises nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()

_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
# Tables whose rows are promises: the last column says who holds them.
_TABLE = re.compile(r"^\|.*\| held by \|\n\|[-:|]+\|\n((?:\|.*\|\n)+)", re.M)


@pytest.mark.parametrize("named", sorted(set(_TEST.findall(PAGE))), ids="::".join)
def test_every_test_that_is_named_exists(named: tuple[str, str]) -> None:
    """In the file that the page says."""
    file, name = named
    text = (TESTS / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.M), f"{file} has no {name}"


def test_every_promise_names_a_test() -> None:
    """Each row of a table of promises."""
    rows = [row for table in _TABLE.findall(PAGE) for row in table.splitlines()]
    assert len(rows) > 25
    assert [row for row in rows if not _TEST.search(row.split("|")[-2])] == []


def test_every_part_of_the_issue_has_promises() -> None:
    """A page that lost its tables would pass the test above."""
    assert len(_TABLE.findall(PAGE)) == 4
