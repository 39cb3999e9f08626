"""What services are told of a graph."""

from __future__ import annotations

import logging
import logging.handlers
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from meshgen import serve
from meshgen.arguments import unpack
from meshgen.errors import BuildError, NoSuchApplicationError, SerializationError
from meshgen.graph import build_graph
from meshgen.spec import MeshSpec, ServiceSpec, Target, app_spec, find_target, service_specs
from meshgen.specfiles import read_service, service_files, write_service
from meshgen.types import DeploymentID


@serve.deployment
class Decorated:
    """Its name in this module is the Deployment, not the class."""

    class Inner:
        """A class inside of a class."""


class Plain:
    """A class that is deployed without a decorator."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...


_D: serve.Deployment[..., Any] = serve.deployment(Plain, name="Cart")


def _single(app: serve.Application) -> ServiceSpec:
    return service_specs(build_graph(app))[-1]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (Plain, "tests.test_spec:Plain"),
        (getattr(Decorated, "func_or_class"), "tests.test_spec:Decorated"),  # noqa: B009  # mypy sees the class
        (getattr(Decorated, "func_or_class").Inner, "tests.test_spec:Decorated.Inner"),  # noqa: B009  # as above
        (_single, "tests.test_spec:_single"),
        (logging.handlers.QueueHandler, "logging.handlers:QueueHandler"),
    ],
)
def test_what_can_be_imported_is_named_by_its_path(target: Any, path: str) -> None:
    """Also where the module's name is bound to the Deployment that a decorator made."""
    found = find_target(target)
    assert found == Target(path=path)
    assert found.load() is target


def test_a_class_in_a_function_travels_by_value(tmp_path: Path) -> None:
    """No import path leads there. That closures arrive in another process is held below."""
    greeting = "hello"

    class Local:
        def greet(self, name: str) -> str:
            return f"{greeting} {name}"

    spec = _single(serve.deployment(Local).bind())
    assert spec.target.path is None
    assert set(service_files(spec)) == {"service.json", "target.pkl"}
    write_service(spec, tmp_path)
    loaded = read_service(tmp_path).target.load()
    assert loaded().greet("Dora") == "hello Dora"


def test_a_name_that_now_means_something_else_travels_by_value() -> None:
    """Importing it would construct the wrong class."""
    shadowed = type("Plain", (), {"__module__": __name__, "mine": True})
    found = find_target(shadowed)
    assert found.path is None
    assert found.load().mine is True  # type: ignore[attr-defined]  # of the class made above


def test_the_classes_of_a_script_travel_by_value(tmp_path: Path) -> None:
    """`__main__` is another module over there; globals and closures come along."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from meshgen import serve
            from meshgen.graph import build_graph
            from meshgen.spec import service_specs
            from meshgen.specfiles import write_service

            FACTOR = 3

            def triple(x):
                return FACTOR * x

            def make(offset):
                @serve.deployment
                class Tripler:
                    def __init__(self, function):
                        self.function = function
                    def __call__(self, x):
                        return triple(x) + self.function(x) + offset
                return Tripler

            (spec,) = service_specs(build_graph(make(100).bind(lambda x: x)))
            write_service(spec, Path(sys.argv[1]))
            """
        )
    )
    subprocess.run([sys.executable, script, tmp_path], check=True, timeout=60)
    spec = read_service(tmp_path)
    args, kwargs = unpack(spec.arguments, str)
    assert spec.target.path is None
    assert spec.target.load()(*args, **kwargs)(5) == 120


def test_every_service_that_cannot_be_pickled_is_listed() -> None:
    """One problem each, naming deployment and class."""
    lock = threading.Lock()

    class First:
        guard = lock

    class Second:
        guard = lock

        def __init__(self, first: object) -> None:
            self.first = first

    second_one: serve.Deployment[..., Any] = serve.deployment(Second)
    graph = build_graph(second_one.bind(serve.deployment(First).bind()))
    with pytest.raises(BuildError) as caught:
        service_specs(graph)
    first, second = caught.value.problems
    assert first.startswith("First: ") and "cannot be pickled" in first
    assert second.startswith("Second: ") and "cannot pickle '_thread.lock'" in second
    with pytest.raises(SerializationError, match="First of tests.test_spec cannot be pickled"):
        find_target(First)


def test_a_mesh_finds_its_deployments_by_name() -> None:
    """What is not there is named in the error, with its application."""
    mesh = MeshSpec(apps={"quiet": app_spec(build_graph(_D.bind(_D.bind()), app="quiet"), None)})
    assert mesh.ingress_of("quiet").id == DeploymentID("quiet", "Cart")
    assert mesh.find(DeploymentID("quiet", "Cart_1")).service == "cart-1"
    with pytest.raises(NoSuchApplicationError, match="no deployment 'Nope' in application 'quiet'"):
        mesh.find(DeploymentID("quiet", "Nope"))
    with pytest.raises(NoSuchApplicationError, match="in application 'loud'"):
        mesh.find(DeploymentID("loud", "Cart"))
    with pytest.raises(KeyError, match="no application 'loud'"):
        mesh.ingress_of("loud")
