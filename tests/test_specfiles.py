"""The files by which services are told: written here, read over there, the same in effect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from meshgen import serve
from meshgen.arguments import unpack
from meshgen.graph import build_graph
from meshgen.spec import MeshSpec, ServiceSpec, app_spec, service_specs
from meshgen.specfiles import read_mesh, read_service, service_files, write_mesh, write_service


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


def _app(deployment: Any) -> serve.Application:
    """Bind what mypy takes for the undecorated class."""
    app: serve.Application = deployment.bind()
    return app


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


def test_plain_arguments_stand_readable_in_the_service_file(tmp_path: Path) -> None:
    """Output is reviewed by people: no pickle where none is needed."""
    files = service_files(_single(_D.bind("hello", model=_D.options(name="Other").bind())))
    assert set(files) == {"service.json"}
    document = json.loads(files["service.json"])
    assert document["arguments"] == {
        "args": ["hello"],
        "kwargs": {"model": {"$deployment": "Other"}},
    }
    assert document["target"] == "tests.test_specfiles:Plain"
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


def test_a_mesh_comes_back_from_disk_as_it_was(tmp_path: Path) -> None:
    """Two applications, one of them not on HTTP; nothing else is left in the folder."""
    shop = app_spec(build_graph(_app(Decorated), app="shop"), "/shop")
    quiet = app_spec(build_graph(_D.bind(_D.bind()), app="quiet"), None)
    mesh = MeshSpec(apps={"shop": shop, "quiet": quiet})
    write_mesh(mesh, tmp_path / "mesh.json")
    assert read_mesh(tmp_path / "mesh.json") == mesh
    assert [path.name for path in tmp_path.iterdir()] == ["mesh.json"]
