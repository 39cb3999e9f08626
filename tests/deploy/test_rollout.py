"""An application that is deployed again, while it is called."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import psutil
import pytest

from meshgen.deploy.local import LocalMesh
from meshgen.errors import DeployError, NotServingError
from meshgen.graph import build_graph
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from tests.apps import failing, redeployed, shapes
from tests.deploy.meshes import (
    APP,
    Constructing,
    deploy,
    ingress,
    local_mesh,
    overview,
    pids,
    under_load,
)
from tests.programs import assert_gone

Caller = Callable[[], Awaitable[list[str]]]


def _callers(handle: DeploymentHandle, client: httpx.AsyncClient) -> list[Caller]:
    """All ways to call: unary, chained by responses, streaming, HTTP."""

    async def unary() -> list[str]:
        return [await handle.remote()]

    async def chained() -> list[str]:
        return [await handle.chain.remote()]

    async def streaming() -> list[str]:
        return [item async for item in handle.options(stream=True).stream.remote(5)]

    async def http() -> list[str]:
        answer = await client.get("/")
        assert answer.status_code == 200, answer.text
        return [answer.text]

    return [unary, chained, streaming, http]


@pytest.mark.parametrize("new", [redeployed.app("new"), redeployed.other], ids=["same", "changed"])
async def test_no_call_fails_while_an_application_is_replaced(new: Application) -> None:
    """Of whatever kind, from a driver, from HTTP and between deployments.

    Also where the methods have changed: callers of before are answered by replicas of before.
    """
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, redeployed.app(), prefix="/")
        before = [psutil.Process(pid) for pid in pids(mesh)]
        client = httpx.AsyncClient(base_url=mesh.http_address or "", trust_env=False, timeout=20)
        async with client, ingress(mesh) as handle:
            async with under_load(*_callers(handle, client)) as load:
                await load.until_answered("old/old")
                await deploy(mesh, new, prefix="/")
                assert {"old/old", "new/new"} <= set(load.answers)
                await load.until_answered("new/new")
                assert set(load.answers) == {"new/new"}
        assert_gone(before, within=1)
        assert overview(mesh).status == "RUNNING"


async def test_replicas_are_replaced_one_by_one() -> None:
    """There are never fewer that serve than there should be, and one more at most."""
    seen: set[tuple[int, int]] = set()
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, shapes.Leaf.options(num_replicas=3).bind("old"))
        async with ingress(mesh) as handle:

            async def look() -> list[str]:
                states = overview(mesh).deployments["Leaf"].replica_states
                seen.add((states.get("RUNNING", 0), states.get("STARTING", 0)))
                return [await handle.remote()]

            async with under_load(look):
                await deploy(mesh, shapes.Leaf.options(num_replicas=3).bind("new"))
    assert min(running for running, _ in seen) == 3
    assert max(running + starting for running, starting in seen) == 4


async def test_only_what_runs_is_left_on_disk() -> None:
    """Nothing of the deploys of before, nor of one that failed."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        for label in ("one", "two"):
            await deploy(mesh, shapes.Leaf.bind(label))
        with pytest.raises(DeployError):
            await deploy(mesh, failing.Broken.options(name="Leaf").bind("no model"))
        (left,) = mesh.folder.path.glob("deploys/*")
        assert sorted(path.name for path in left.iterdir()) == ["leaf", "mesh.json"]
        await mesh.delete(APP)
        assert list(mesh.folder.path.glob("deploys/*")) == []


async def test_a_deployment_that_is_gone_is_stopped() -> None:
    """And one that is new is started, all in one deploy."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, shapes.Side.bind(shapes.Leaf.options(name="Before").bind()))
        await deploy(mesh, shapes.Side.bind(shapes.Leaf.options(name="After").bind()))
        status = overview(mesh)
        assert {n: len(d.replicas) for n, d in status.deployments.items()} == {
            "Side": 1,
            "After": 1,
        }
        async with ingress(mesh) as handle:
            assert await handle.name.remote() == "After"


async def test_a_constructor_that_fails_touches_nothing_of_before() -> None:
    """Whichever deployment's it is; the status tells until a deploy succeeds."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, redeployed.app())
        before = pids(mesh)
        broken = failing.Broken.options(name="Backend").bind("no model")
        with pytest.raises(DeployError, match="cannot load: no model"):
            await deploy(mesh, redeployed.Front.bind(broken, "new"))
        assert pids(mesh) == before
        status = overview(mesh)
        assert status.status == "RUNNING"
        assert status.message.startswith("the last deploy failed: application 'shop' did not start")
        assert "ValueError: cannot load: no model" in status.message
        async with ingress(mesh) as handle:
            assert await handle.remote() == "old/old"
        await deploy(mesh, redeployed.app("new", replicas=1))
        assert (overview(mesh).status, overview(mesh).message) == ("RUNNING", "")


async def test_a_rollout_that_comes_to_a_halt_goes_on_serving(tmp_path: Path) -> None:
    """What runs by then stays, the status tells, and the next deploy replaces all of it."""
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, redeployed.Once.bind(str(tmp_path / "one")))
        two = redeployed.Once.options(num_replicas=2).bind(str(tmp_path / "two"))
        with pytest.raises(DeployError, match="FileExistsError"):
            await deploy(mesh, two)
        status = overview(mesh)
        assert (status.status, status.deployments["Once"].status) == ("UNHEALTHY", "DEPLOY_FAILED")
        assert "FileExistsError" in status.message
        async with ingress(mesh) as handle, under_load(lambda: _name(handle)) as load:
            await load.until_answered("one", "two")
            before = [psutil.Process(pid) for pid in pids(mesh)]
            await deploy(mesh, redeployed.Once.bind(str(tmp_path / "three")))
        assert_gone(before, within=1)
        assert (overview(mesh).status, len(pids(mesh))) == ("RUNNING", 1)


async def _name(handle: DeploymentHandle) -> list[str]:
    return [await handle.remote()]


async def _start_to_replace_by_what_never_runs(
    mesh: LocalMesh, constructing: Constructing
) -> asyncio.Task[None]:
    """With a constructor that does not end."""
    stuck = shapes.Stuck.options(name="Front").bind(shapes.Leaf.bind())
    task = asyncio.create_task(mesh.deploy(build_graph(stuck, app=APP), None))
    await constructing.begun.wait()
    return task


async def test_an_interrupted_deploy_leaves_what_was_there() -> None:
    """Ctrl-C while a new constructor runs."""
    constructing = Constructing()
    async with asyncio.timeout(120), local_mesh(constructing.on_line) as mesh:
        await deploy(mesh, redeployed.app(replicas=1))
        before = pids(mesh)
        task = await _start_to_replace_by_what_never_runs(mesh, constructing)
        assert overview(mesh).status == "DEPLOYING"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert pids(mesh) == before
        assert overview(mesh).message == "the last deploy failed: it was interrupted"


@pytest.mark.parametrize("how", ["delete", "close"])
async def test_an_application_can_be_stopped_while_it_is_replaced(how: str) -> None:
    """The deploy ends at once, with all processes of both versions."""
    constructing = Constructing()
    async with asyncio.timeout(120), local_mesh(constructing.on_line) as mesh:
        await deploy(mesh, redeployed.app(replicas=1))
        task = await _start_to_replace_by_what_never_runs(mesh, constructing)
        processes = [psutil.Process(pid) for pid in pids(mesh)]
        assert len(processes) >= 3
        async with asyncio.timeout(18):  # a replica may take 20 to drain
            await (mesh.delete(APP) if how == "delete" else mesh.close())
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert_gone(processes, within=1)
        if how == "close":
            with pytest.raises(NotServingError, match="was shut down"):
                await mesh.deploy(build_graph(shapes.Leaf.bind(), app=APP), None)


async def test_a_replica_that_is_down_is_replaced_first() -> None:
    """One that has just died does not come back as the old one."""
    async with asyncio.timeout(120), local_mesh() as mesh:
        await deploy(mesh, shapes.Leaf.options(num_replicas=2).bind("old"))
        os.kill(pids(mesh)[1], signal.SIGKILL)
        await deploy(mesh, shapes.Leaf.options(num_replicas=2).bind("new"))
        async with ingress(mesh) as handle:
            assert {await handle.remote() for _ in range(10)} == {"new"}
        assert overview(mesh).deployments["Leaf"].replica_states == {"RUNNING": 2}
