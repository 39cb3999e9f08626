"""`docs/reliability.md` and `docs/security.md` promise nothing that no test holds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
# With the number of their tables: a page that lost them would promise nothing.
PAGES = {"reliability.md": 4, "security.md": 1}

_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")
# Tables whose rows are promises: the last column says who holds them.
_TABLE = re.compile(r"^\|.*\| held by \|\n\|[-:|]+\|\n((?:\|.*\|\n)+)", re.M)


def _text(page: str) -> str:
    return (TESTS.parent / "docs" / page).read_text()


def _named() -> list[tuple[str, str]]:
    return sorted({found for page in PAGES for found in _TEST.findall(_text(page))})


@pytest.mark.parametrize("named", _named(), ids="::".join)
def test_every_test_that_is_named_exists(named: tuple[str, str]) -> None:
    """In the file that the page says."""
    file, name = named
    text = (TESTS / file).read_text()
    assert re.search(rf"^(async )?def {name}\(", text, re.M), f"{file} has no {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_names_a_test(page: str) -> None:
    """Each row of each table of promises."""
    tables = _TABLE.findall(_text(page))
    assert len(tables) == PAGES[page]
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) > 8
    assert [row for row in rows if not _TEST.search(row.split("|")[-2])] == []
