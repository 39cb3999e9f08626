"""A deploy that brings a new `user_config` and nothing else."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Any

import pytest

from meshgen import serve
from meshgen.deploy.codestamp import CodeStamp
from meshgen.deploy.generation import Generation, Service
from meshgen.deploy.reconfiguration import find_reconfiguration
from meshgen.errors import DeployError
from meshgen.graph import build_graph
from meshgen.serve.deployment import Application
from meshgen.spec import app_spec, service_specs
from tests.apps.redeployed import Tuned
from tests.deploy.meshes import APP, deploy, ingress, local_mesh, overview, pids

STAMP = CodeStamp(files={"app.py": (1, 2)}, path=("/app",), environment={"HOME": "/root"})


def _tuned(config: Any, *args: Any, **options: Any) -> Application:
    app: Application = Tuned.options(user_config=config, **options).bind(*args)
    return app


async def test_replicas_take_it_up_and_go_on() -> None:
    """All of them, without a restart; one that is started later begins with it."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, _tuned({"level": 1}, num_replicas=2))
        before = pids(mesh)
        async with ingress(mesh) as handle:
            assert await handle.remote() == [{"level": 1}]
            await deploy(mesh, _tuned({"level": 2}, num_replicas=2))
            assert pids(mesh) == before
            answers = [await handle.remote() for _ in range(20)]
            assert answers == [[{"level": 1}, {"level": 2}]] * 20
            await deploy(mesh, _tuned({"level": 3}, num_replicas=1))
            assert not set(pids(mesh)) & set(before)
            assert await handle.remote() == [{"level": 3}]


async def test_one_that_cannot_be_taken_is_taken_back() -> None:
    """With the user's traceback in the error and in the status; the next one is taken."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, _tuned("good"))
        before = pids(mesh)
        with pytest.raises(DeployError, match="keeps its user_config") as caught:
            await deploy(mesh, _tuned("bad"))
        status = overview(mesh)
        (replica,) = status.deployments["Tuned"].replicas
        for text in (str(caught.value), status.message, replica.last_error):
            assert "ValueError: cannot work with bad" in text
        assert (status.status, pids(mesh)) == ("RUNNING", before)
        async with ingress(mesh) as handle:
            await deploy(mesh, _tuned("better"))
            assert (await handle.remote())[-1] == "better"
        assert (overview(mesh).message, pids(mesh)) == ("", before)


async def test_a_replica_that_still_takes_one_back_is_waited_for() -> None:
    """Its word on what was before is not taken for its word on what is new."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, _tuned("slowly good"))
        with pytest.raises(DeployError, match="keeps its user_config"):
            await deploy(mesh, _tuned("bad"))
        await deploy(mesh, _tuned("slowly better"))
        async with ingress(mesh) as handle:
            assert (await handle.remote())[-1] == "slowly better"


async def test_a_replica_that_has_just_died_begins_with_it() -> None:
    """It is waited for, and told when it serves."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, _tuned("old"))
        os.kill(pids(mesh)[0], 9)
        await deploy(mesh, _tuned("new"))
        async with ingress(mesh) as handle:
            assert (await handle.remote())[-1] == "new"


def _generation(app: Application) -> Generation:
    graph = build_graph(app, app=APP)
    services = [
        Service(spec=spec, folder=None, waiting=[])  # type: ignore[arg-type]  # nothing is written
        for spec in service_specs(graph)
    ]
    return Generation(number=0, spec=app_spec(graph, None), services=services, stamp=STAMP)


def _found(old: Application, new: Application, stamp: CodeStamp = STAMP) -> list[str] | None:
    """The deployments that are reconfigured in place."""
    services = service_specs(build_graph(new, app=APP))
    found = find_reconfiguration(_generation(old), services, stamp)
    return None if found is None else [service.name for service, _ in found.changes]


def test_only_those_that_differ_are_reconfigured() -> None:
    """The others hear nothing of it."""

    def app(config: int) -> Application:
        below = Tuned.options(name="Below", user_config=7).bind()
        return _tuned(config, below)

    assert _found(app(1), app(2)) == ["Tuned"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (_tuned(1), _tuned(1)),
        (_tuned(1), _tuned(2, num_replicas=2)),
        (_tuned(1), _tuned(2, name="Other")),
        (_tuned(1), _tuned(2, Tuned.options(name="Below").bind())),
        (_tuned(1), _tuned(None)),
        (_tuned(None), _tuned(1)),
    ],
    ids=["nothing", "options", "name", "arguments", "taken away", "first"],
)
def test_whatever_else_differs_needs_new_replicas(old: Application, new: Application) -> None:
    """And so does a deploy without any difference: it has a reason that cannot be seen."""
    assert _found(old, new) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(STAMP, files={"app.py": (2, 2)}),
        replace(STAMP, files={}),
        replace(STAMP, path=("/else",)),
        replace(STAMP, environment={}),
    ],
)
def test_code_that_may_have_changed_needs_new_replicas(other: CodeStamp) -> None:
    """Another source file, or another place to import from."""
    assert _found(_tuned(1), _tuned(2)) == ["Tuned"]
    assert _found(_tuned(1), _tuned(2), other) is None


def test_a_class_by_value_is_the_same_only_if_it_is_the_same_object() -> None:
    """One that a notebook's cell defines again may be another."""

    def define() -> Any:
        class Local(Tuned.func_or_class):  # type: ignore[misc]  # of no known type
            pass

        return Local

    first, second = define(), define()

    def app(cls: Any, config: int) -> Application:
        deployment: Application = serve.deployment(cls, user_config=config).bind()
        return deployment

    assert _found(app(first, 1), app(first, 2)) == ["Local"]
    assert _found(app(first, 1), app(second, 2)) is None
