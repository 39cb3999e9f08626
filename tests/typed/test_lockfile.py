"""The lock as a file: written the same, read back, and refused where it is none."""

from __future__ import annotations

import json

import pytest

from meshgen.errors import OptionError
from meshgen.typed.lockfile import lock_text, read_lock
from meshgen.typed.numbers import next_lock
from tests.typed.models import Shop
from tests.typed.services import typed

_PART: dict[str, object] = {"messages": {}, "enums": {}, "reserved": {}, "rpcs": {}, "types": {}}


def test_a_lock_survives_its_file() -> None:
    """And the next build of the same code writes the same bytes."""
    made = typed(Shop)
    text = lock_text(next_lock({}, {made.schema.package: made.lock}))
    again = typed(Shop, read_lock(text))
    assert lock_text(next_lock(read_lock(text), {again.schema.package: again.lock})) == text


@pytest.mark.parametrize(
    "part",
    [
        3,
        None,
        [],
        {},
        {"messages": 1},
        _PART | {"enums": ["x"]},
        _PART | {"messages": {"Item": {"a": "1"}}},
        _PART | {"messages": {"Item": {"a": True}}},
        _PART | {"messages": {"Item": [1]}},
        _PART | {"reserved": {"Item": {"numbers": ["1"], "names": []}}},
        _PART | {"reserved": {"Item": {"numbers": [1]}}},
        _PART | {"rpcs": {"Call": 1}},
        _PART | {"types": {"Item": {"a": 1}}},
    ],
    ids=str,
)
def test_a_part_that_no_build_wrote_is_refused(part: object) -> None:
    """In a sentence that says which, and what to do."""
    read_lock(json.dumps({"demo.shop.v1": _PART}))
    with pytest.raises(OptionError, match=r"is no lock: its part 'demo.shop.v1' is not what a"):
        read_lock(json.dumps({"demo.shop.v1": part}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "it is no JSON"), ("[]", "it is no JSON object"), ("<<<<<<< HEAD", "it is no JSON")],
)
def test_a_file_that_is_no_lock_is_refused(text: str, reason: str) -> None:
    """Such as one with the marks of a merge in it."""
    with pytest.raises(OptionError, match=f"meshgen.lock.json is no lock: {reason}"):
        read_lock(text)
