"""What code finds around it: its replica, its request, and no one else's context variables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from meshgen import serve
from meshgen.errors import NotServingError
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app, run_http
from tests.apps.contexts import app

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outer(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/contexts.py."""
    async with run_app(app, mode=mode, name="contexts") as handle:
        yield handle


async def test_code_knows_its_replica(outer: DeploymentHandle) -> None:
    """In the constructor and in methods of either kind, each deployment its own."""
    inner = (True, ("contexts", "Inner", "0"))
    assert await outer.replicas.remote() == ("Outer", inner, "Outer")


async def test_a_request_keeps_its_id_through_every_hop(outer: DeploymentHandle) -> None:
    """The response tells it too; two requests have two."""
    response = outer.request_ids.remote()
    assert await response == [response.request_id] * 3
    assert (await outer.request_ids.remote())[0] != response.request_id


async def test_a_client_s_request_id_reaches_every_hop(mode: Mode) -> None:
    """As `x-request-id` of HTTP."""
    async with (
        run_http(app, mode=mode) as address,
        httpx.AsyncClient(base_url=address, trust_env=False, timeout=20) as client,
    ):
        answer = await client.get("/", headers={"x-request-id": "mine"})
    assert answer.json() == ["mine", "mine", "mine", "Outer"]


async def test_context_variables_of_one_call_do_not_reach_another(outer: DeploymentHandle) -> None:
    """Threads are used again, their context is not."""
    assert await outer.paint_twice.remote() == ["none", "none"]


async def test_outside_of_a_deployment_there_is_no_replica(outer: DeploymentHandle) -> None:
    """Nor does a mesh in this process make one of the test."""
    assert outer.app_name == "contexts"
    with pytest.raises(NotServingError, match="works inside of a deployment only"):
        serve.get_replica_context()
