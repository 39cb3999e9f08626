"""What the tests of whole applications share."""

from __future__ import annotations

from typing import TypeVar

import pytest

from meshgen.testing import MODES, Mode

T = TypeVar("T")


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> Mode:
    """Each of the three modes."""
    found: Mode = request.param
    return found
