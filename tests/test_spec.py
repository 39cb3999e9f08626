"""What services are told, through files: written here, read over there, the same in effect."""

from __future__ import annotations

import json
import logging
import logging.handlers
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshgen import serve
from meshgen.arguments import unpack
from meshgen.errors import BuildError, NoSuchApplicationError, SerializationError
from meshgen.graph import build_graph
from meshgen.spec import (
    MeshSpec,
    ServiceSpec,
    Target,
    app_spec,
    find_target,
    read_mesh,
    read_service,
    service_files,
    service_specs,
    write_mesh,
    write_service,
)
from meshgen.types import DeploymentID


@serve.deployment
class Decorated:
    """Its name in this module is the Deployment, not the class."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def plain(self, a: int, /, b: int = 1, *rest: int, c: int, **more: int) -> None:
        """Every kind of parameter."""

    def numbers(self) -> Iterator[int]:
        """A generator."""
        yield 1

    async def letters(self) -> AsyncIterator[str]:
        """Another generator."""
        yield "a"

    class Inner:
        """A class inside of a class."""


class Plain:
    """A class that is deployed without a decorator."""

    def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def reconfigure(self, user_config: Any) -> None:
        """Take a configuration."""


_D: serve.Deployment[..., Any] = serve.deployment(Plain, name="Cart")


def _through_files(spec: ServiceSpec, folder: Path) -> ServiceSpec:
    write_service(spec, folder)
    return read_service(folder)


def _single(app: serve.Application) -> ServiceSpec:
    return service_specs(build_graph(app))[-1]


def test_a_service_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    """Stub, target, options, callees: equal; arguments: the same constructor call."""
    deployment = _D.options(
        num_replicas=3,
        max_ongoing_requests=7,
        max_queued_requests=9,
        user_config={"größe": [1, None, 2.5]},
        graceful_shutdown_timeout_s=1.5,
        health_check_period_s=2,
        max_constructor_retry_count=1,
        ray_actor_options={
            "num_cpus": 0.5,
            "num_gpus": 1,
            "memory": 2**30,
            "accelerator_type": "T4",
            "resources": {"fast": 1},
            "runtime_env": {
                "pip": ["numpy"],
                "env_vars": {"MODE": "test"},
                "working_dir": ".",
            },
        },
    )
    spec = _single(deployment.bind(1, "zwölf", model=_D.bind()))
    back = _through_files(spec, tmp_path)
    assert (back.stub, back.target, back.options, back.callees) == (
        spec.stub,
        spec.target,
        spec.options,
        spec.callees,
    )
    assert unpack(back.arguments, str.upper) == ((1, "zwölf"), {"model": "CART_1"})
    assert service_files(back) == service_files(spec)


def test_signatures_survive_the_files(tmp_path: Path) -> None:
    """Handles of another process check calls as this one would."""
    spec = service_specs(build_graph(_app(Decorated)))[0]
    methods = _through_files(spec, tmp_path).stub.methods
    assert methods == spec.stub.methods
    signature = str(methods["plain"].signature)
    assert signature == "(a, /, b=None, *rest, c, **more)"
    assert [name for name, method in methods.items() if method.streams] == ["letters", "numbers"]


def test_what_methods_promise_survives_the_files(tmp_path: Path) -> None:
    """Handles of another process may do as much as this one's; nothing is said of the others."""

    class Promising:
        @serve.method(idempotent=True, hedge_after_s=0.5)
        def total(self) -> None: ...

        def add(self) -> None: ...

    spec = service_specs(build_graph(serve.deployment(Promising).bind()))[0]
    methods = _through_files(spec, tmp_path).stub.methods
    assert methods == spec.stub.methods
    assert (methods["total"].idempotent, methods["total"].hedge_after_s) == (True, 0.5)
    written = json.loads(service_files(spec)["service.json"])["stub"]["methods"]
    assert set(written["total"]) - set(written["add"]) == {"idempotent", "hedge_after_s"}


def _app(deployment: Any) -> serve.Application:
    """Bind what mypy takes for the undecorated class."""
    app: serve.Application = deployment.bind()
    return app


def test_plain_arguments_stand_readable_in_the_service_file(tmp_path: Path) -> None:
    """Output is reviewed by people: no pickle where none is needed."""
    files = service_files(_single(_D.bind("hello", model=_D.options(name="Other").bind())))
    assert set(files) == {"service.json"}
    document = json.loads(files["service.json"])
    assert document["arguments"] == {
        "args": ["hello"],
        "kwargs": {"model": {"$deployment": "Other"}},
    }
    assert document["target"] == "tests.test_spec:Plain"
    assert files["service.json"].endswith(b"}\n")


def test_other_arguments_travel_beside_it(tmp_path: Path) -> None:
    """A tuple is no JSON: `args.pkl` holds it, with the handle in it."""
    spec = _single(_D.bind((1, _D.options(name="Other").bind())))
    assert set(service_files(spec)) == {"service.json", "args.pkl"}
    assert unpack(_through_files(spec, tmp_path).arguments, str.upper) == (((1, "OTHER"),), {})


def test_the_same_service_gives_the_same_bytes() -> None:
    """Builds can be compared."""
    assert service_files(_single(_D.bind({"b": 1, "a": 2}))) == service_files(
        _single(_D.bind({"b": 1, "a": 2}))
    )


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
    loaded = _through_files(spec, tmp_path).target.load()
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
            from meshgen.spec import service_specs, write_service

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


def test_a_mesh_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    """Two applications, one of them not on HTTP; nothing else is left in the folder."""
    shop = app_spec(build_graph(_app(Decorated), app="shop"), "/shop")
    quiet = app_spec(build_graph(_D.bind(_D.bind()), app="quiet"), None)
    mesh = MeshSpec(apps={"shop": shop, "quiet": quiet})
    write_mesh(mesh, tmp_path / "mesh.json")
    assert read_mesh(tmp_path / "mesh.json") == mesh
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.json"]


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
