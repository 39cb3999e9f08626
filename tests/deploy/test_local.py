"""A mesh as processes: what stands where, and what is left when it goes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import psutil
import pytest

from meshgen.deploy.local import LocalMesh
from meshgen.errors import DeployError, OptionError
from tests.apps import failing, shapes
from tests.deploy.meshes import Constructing, deploy, local_mesh, pids
from tests.programs import assert_gone


def _sockets(mesh: LocalMesh) -> list[Path]:
    return sorted(mesh.folder.path.glob("sockets/*/*/*.sock"))


async def test_each_replica_has_a_socket_that_only_this_user_reaches() -> None:
    """In the mesh's folder, and no longer when it is stopped."""
    async with local_mesh() as mesh:
        await deploy(mesh, shapes.replicas)
        assert [s.name for s in _sockets(mesh)] == ["0.sock", "0.sock", "1.sock", "2.sock"]
        processes = [psutil.Process(pid) for pid in pids(mesh)]
        assert len(processes) == 4
        assert not any(p.net_connections("inet") for p in processes)
        await mesh.delete("shop")
        assert _sockets(mesh) == []
        assert_gone(processes, within=1)
    assert not mesh.folder.path.exists()


async def test_without_a_route_no_gateway_and_no_port() -> None:
    """HTTP is for who asks for it."""
    async with local_mesh() as mesh:
        await deploy(mesh, shapes.Leaf.bind())
        assert (mesh.http_address, mesh.status().proxies) == (None, {})
        await deploy(mesh, shapes.Leaf.bind(), prefix="/")
        assert mesh.http_address is not None
        assert mesh.status().proxies == {"gateway": "HEALTHY"}


async def test_a_failed_application_leaves_no_process() -> None:
    """Not even those of its deployments that could start."""
    async with local_mesh() as mesh:
        app = shapes.Nested.bind(shapes.Leaf.bind(), failing.Broken.bind("no model"))
        with pytest.raises(DeployError, match="cannot load: no model"):
            await deploy(mesh, app)
        assert pids(mesh) == []
        assert _sockets(mesh) == []
        assert mesh.status().applications["shop"].status == "DEPLOY_FAILED"
        await deploy(mesh, shapes.Leaf.bind())
        assert mesh.status().applications["shop"].status == "RUNNING"


async def test_a_folder_that_is_missing_is_told() -> None:
    """A `working_dir` that is not there."""
    env = {"runtime_env": {"working_dir": "/there/is/no/such/folder"}}
    async with local_mesh() as mesh:
        with pytest.raises(DeployError, match="/there/is/no/such/folder"):
            await deploy(mesh, shapes.Leaf.options(ray_actor_options=env).bind())


async def test_a_redeploy_with_fewer_replicas_takes_no_socket_twice() -> None:
    """Old and new ones run side by side for a moment."""
    async with local_mesh() as mesh:
        for count in (1, 3, 2, 1):
            await deploy(mesh, shapes.Leaf.options(num_replicas=count).bind())
            assert len(_sockets(mesh)) == count == len(pids(mesh))


async def test_a_cancelled_deploy_leaves_no_process() -> None:
    """Ctrl-C while a constructor runs."""
    constructing = Constructing()
    async with asyncio.timeout(60), local_mesh(constructing.on_line) as mesh:
        task = asyncio.create_task(deploy(mesh, shapes.Stuck.bind(shapes.Leaf.bind())))
        await constructing.begun.wait()
        processes = [psutil.Process(pid) for pid in pids(mesh)]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert_gone(processes, within=1)


async def test_a_route_is_checked_before_anything_starts() -> None:
    """And the application is not there afterwards."""
    async with local_mesh() as mesh:
        with pytest.raises(OptionError, match="must start with '/'"):
            await deploy(mesh, shapes.Leaf.bind(), prefix="shop")
        assert mesh.status().applications == {}


async def test_replicas_that_hang_are_not_waited_for_for_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first gets its time to drain and the margin, the next ones the margin only."""
    quick = {"graceful_shutdown_timeout_s": 3.0}
    side = shapes.Side.options(**quick).bind(shapes.Leaf.options(**quick).bind())
    async with asyncio.timeout(60), local_mesh() as mesh:
        await deploy(mesh, side)
        processes = [psutil.Process(pid) for pid in pids(mesh)]
        for process in processes:
            process.suspend()
        await mesh.close()
        assert_gone(processes, within=1)
    # How long each was waited for; what the clock says is this and what the machine does beside.
    told = [record.getMessage() for record in caplog.records if "did not end" in record.message]
    assert told == [
        "side#0 did not end within 8.0 s: killed",
        "leaf#0 did not end within 5.0 s: killed",
    ]


async def test_close_leaves_no_descriptor_behind() -> None:
    """A program may run many meshes, one after the other."""
    async with local_mesh() as mesh:
        await deploy(mesh, shapes.Leaf.bind(), prefix="/")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        async with local_mesh() as mesh:
            await deploy(mesh, shapes.Leaf.bind(), prefix="/")
    assert len(os.listdir("/proc/self/fd")) <= before
