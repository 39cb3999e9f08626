"""Values by reference where no mesh runs; tests/modes/test_objects.py has the rest."""

from __future__ import annotations

import pytest

import meshgen
from meshgen.errors import NotServingError
from meshgen.objectrefgenerator import ObjectRefGenerator


def test_without_a_mesh_there_is_nowhere_to_put_anything() -> None:
    """It says what to do."""
    with pytest.raises(NotServingError, match="no mesh runs"):
        meshgen.put(1)


def test_the_core_names_are_found_on_the_package() -> None:
    """Each is loaded on first use; what is none of them is no attribute."""
    assert meshgen.ObjectRefGenerator is ObjectRefGenerator
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = meshgen.nothing
