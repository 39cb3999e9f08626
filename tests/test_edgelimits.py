"""The limits of the edge, as the environment sets them."""

from __future__ import annotations

import pytest

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import OptionError


def test_each_limit_has_a_variable_and_a_default() -> None:
    """What is not set, or empty, is as ever."""
    given = {"MESHGEN_LIMIT_STREAMS": "7", "MESHGEN_LIMIT_HEAD_SECONDS": "0.5"}
    limits = EdgeLimits.from_environment({**given, "MESHGEN_LIMIT_CONNECTIONS": "", "PATH": "x"})
    assert limits == EdgeLimits(streams=7, head_seconds=0.5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("STREAMS", "0"), ("STREAMS", "1.5"), ("IDLE_SECONDS", "-1"), ("BODY_SECONDS", "nan")]
    + [("REQUEST_BYTES", "64MB")],
)
def test_what_limits_nothing_is_refused(name: str, value: str) -> None:
    """By the name of its variable."""
    with pytest.raises(OptionError, match=f"MESHGEN_LIMIT_{name} must be"):
        EdgeLimits.from_environment({f"MESHGEN_LIMIT_{name}": value})
