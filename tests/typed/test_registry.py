"""Classes with a mapping that their users gave them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from meshgen import typed as meshgen_typed
from meshgen.errors import InvalidResultError, InvalidValueError, MeshError
from meshgen.typed.deployment import typed_deployment
from meshgen.types import DeploymentID
from tests.typed.models import Point
from tests.typed.services import back, echo_of, there


class Metres:
    """A class with one number in it, which is never negative."""

    def __init__(self, length: float) -> None:
        if length < 0:
            raise ValueError("a length is not negative")
        self.length = length

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Metres) and other.length == self.length

    def __hash__(self) -> int:
        return hash(self.length)


class Feet(Metres):
    """Derived, and so another class."""


class Path:
    """A class that becomes a list."""

    def __init__(self, points: list[Point]) -> None:
        self.points = points

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and other.points == self.points


class Temperature:
    """A class that is nothing, now and then."""

    def __init__(self, degrees: float | None) -> None:
        self.degrees = degrees

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Temperature) and other.degrees == self.degrees


def _to_length(value: Metres) -> float:
    return value.length


def _to_points(value: Path) -> list[Point]:
    return value.points


def _to_degrees(value: Temperature) -> float | None:
    return value.degrees


meshgen_typed.register(Metres, _to_length, Metres)
meshgen_typed.register(Path, _to_points, Path)
meshgen_typed.register(Temperature, _to_degrees, Temperature)

_PATH = Path([Point(1, 2)])


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Metres, Metres(1.5)),
        (list[Metres], [Metres(0.0), Metres(2.0)]),
        (Metres | None, None),
        (Metres | None, Metres(1.0)),
        (Metres | Path | int, _PATH),
        (dict[str, Path], {"a": _PATH}),
        (dict[Metres, int], {Metres(1.0): 1}),
        (Path, Path([])),
        (tuple[Path, Temperature], (_PATH, Temperature(None))),
        (Temperature, Temperature(None)),
        (list[Temperature], [Temperature(None), Temperature(3.0)]),
    ],
)
def test_a_registered_class_survives_wherever_it_is(hint: Any, value: Any) -> None:
    """As a field of its own and inside of others, as what it is converted to."""
    converter = echo_of(hint)
    assert there(converter, value) == value
    assert back(converter, value) == value


def test_it_has_the_shape_of_what_it_becomes() -> None:
    """Clients see no trace of the class."""
    fields = {hint: echo_of(hint).request_class.DESCRIPTOR.fields[0] for hint in (Metres, Path)}
    assert fields[Metres].cpp_type == fields[Metres].CPPTYPE_DOUBLE
    assert fields[Path].is_repeated and fields[Path].message_type.name == "Point"


def test_what_its_conversions_raise_is_a_value_that_does_not_fit() -> None:
    """At its path; subclasses are other classes."""
    converter = echo_of(Metres)
    with pytest.raises(InvalidValueError, match="x: a length is not negative"):
        converter.arguments(converter.request_class(x=-1.0))
    with pytest.raises(InvalidResultError, match="result: expected Metres, got Feet"):
        converter.response(Feet(1.0))
    made = typed_deployment(_takes_feet, DeploymentID("demo", "Shop"))
    assert "is Feet, which has no mapping" in made.problems[0]


def _takes_feet(x: Feet) -> None: ...


def _no_annotation(value):  # type: ignore[no-untyped-def]  # the point of it
    return value


def _unresolvable(value: Feet) -> Missing:  # type: ignore[name-defined]  # noqa: F821
    return value


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("Feet", _to_length, Feet), "register.. takes a class first, got 'Feet'"),
        ((Feet, None, Feet), "to_message of Feet must be a function of one value, got None"),
        ((Feet, _to_length, 3), "from_message of Feet must be a function of one value, got 3"),
        ((Feet, _no_annotation, Feet), "to_message of Feet has no return annotation"),
        ((Feet, _unresolvable, Feet), "of to_message of Feet cannot be resolved: name 'Missing'"),
        ((Metres, _to_length, Feet), "Metres is registered already, with other conversions"),
    ],
)
def test_a_registration_that_cannot_be_is_refused(args: Any, reason: str) -> None:
    """Each in a sentence that says what to do."""
    with pytest.raises(MeshError, match=reason):
        meshgen_typed.register(*args)


def test_registering_twice_the_same_is_fine() -> None:
    """A module may be imported under two names."""
    meshgen_typed.register(Metres, _to_length, Metres)


def test_registering_loads_no_protobuf() -> None:
    """A module that declares deployments pays for nothing that it does not use."""
    code = "import meshgen.typed, sys; print([n for n in sys.modules if 'protobuf' in n])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
