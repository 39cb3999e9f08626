"""Values by reference where no mesh runs; tests/modes/test_objects.py has the rest."""

from __future__ import annotations

import pytest

import meshgen
from meshgen.errors import NotServingError


def test_without_a_mesh_there_is_nowhere_to_put_anything() -> None:
    """It says what to do."""
    with pytest.raises(NotServingError, match="no mesh runs"):
        meshgen.put(1)
