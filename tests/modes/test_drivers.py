"""Programs that chain without an event loop, across applications."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from meshgen import serve
from meshgen.errors import BlockingCallError
from meshgen.serve.handle import DeploymentHandle
from tests.apps.futures import Maker, Unwell, app

LARGE = 5_000_000


@pytest.fixture(scope="module")
def maker() -> Iterator[DeploymentHandle]:
    """Makes values, in an application of its own."""
    serve.start({"port": 0})
    serve.run(app, name="one", route_prefix=None)
    serve.run(app, name="two", route_prefix=None)
    yield serve.get_deployment_handle("Maker", "one")
    serve.shutdown()


@pytest.fixture(scope="module")
def taker(maker: DeploymentHandle) -> DeploymentHandle:
    """Takes them, in another one."""
    return serve.get_deployment_handle("Taker", "two")


def test_a_value_goes_from_one_application_to_another(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Before it is there, large or small, itself or by reference."""
    late = maker.late.remote("values", 1)
    response = taker.add.remote(late, right=maker.add.remote(2))
    large = taker.size.remote(maker.block.remote(LARGE))
    nested = taker.open_box.remote([late])
    assert not response.done
    maker.open.remote("values").result(timeout_s=20)
    assert response.result(timeout_s=20) == 3
    assert large.result(timeout_s=20) == LARGE
    assert nested.result(timeout_s=20) == ("ObjectRef", 1)


def test_an_error_goes_from_one_application_to_another(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """As itself."""
    with pytest.raises(Unwell, match="from one to two"):
        taker.add.remote(maker.fail.remote("from one to two")).result(timeout_s=20)


def test_a_large_result_comes_when_it_is_asked_for(maker: DeploymentHandle) -> None:
    """`.result()` fetches it, once."""
    response = maker.block.remote(LARGE)
    value = response.result(timeout_s=20)
    assert int(value.sum()) == LARGE
    assert response.result() is value


def test_a_driver_gets_references(maker: DeploymentHandle, taker: DeploymentHandle) -> None:
    """As soon as a call has its replica; within an event loop in another way."""
    late = maker.late.remote("references", 1)
    ref = late._to_object_ref_sync(20)
    response = taker.add.remote(ref, right=1)
    maker.open.remote("references").result(timeout_s=20)
    assert response.result(timeout_s=20) == 2


async def test_a_driver_with_a_loop_does_not_block_it(maker: DeploymentHandle) -> None:
    """It awaits instead."""
    response = maker.add.remote(1)
    with pytest.raises(BlockingCallError, match=r"await response._to_object_ref\(\)"):
        response._to_object_ref_sync()
    ref = await response._to_object_ref()
    assert await ref == 1


def _stored() -> tuple[int, int]:
    """Values and bytes that replicas of this mesh keep, by their status."""
    replicas = [
        replica
        for app in serve.status().applications.values()
        for deployment in app.deployments.values()
        for replica in deployment.replicas
    ]
    return sum(r.stored_values for r in replicas), sum(r.stored_bytes for r in replicas)


def _until_stored(values: int, least: int) -> None:
    """Wait until the status says so; the replicas tell their supervisor twice a second."""
    deadline = time.monotonic() + 30
    while (found := _stored())[0] != values or found[1] < least:
        assert time.monotonic() < deadline, f"kept are {found}"
        threading.Event().wait(0.05)


def test_the_status_tells_what_replicas_keep(maker: DeploymentHandle) -> None:
    """Values and their bytes, for as long as somebody holds them."""
    responses = [maker.block.remote(LARGE) for _ in range(3)]
    _until_stored(3, 3 * LARGE)
    del responses
    _until_stored(0, 0)


def test_values_beyond_a_replica_s_memory_go_to_files(maker: DeploymentHandle) -> None:
    """They come back whole, and the files go with them."""
    env = {"env_vars": {"MESHGEN_OBJECT_STORE_MEMORY": str(LARGE)}}
    small = serve.deployment(Maker.func_or_class).options(
        name="Small", ray_actor_options={"runtime_env": env}
    )
    frugal = serve.run(small.bind(), name="frugal", route_prefix=None)
    try:
        responses = [frugal.block.remote(LARGE) for _ in range(4)]
        _until_stored(4, 4 * LARGE)
        assert [len(response.result(timeout_s=20)) for response in responses] == [LARGE] * 4
        del responses
        _until_stored(0, 0)
    finally:
        serve.delete("frugal")
