"""Where applications may be in constructor arguments, and how many services they become."""

from __future__ import annotations

import asyncio

import pytest

from meshgen import serve
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps import shapes

NESTED = [
    *("in a list", "in a dict", "in a tuple", "deeper", "left", "right", "in objects"),
    *("in a named tuple", "ordered", "by keyword"),
]
KINDS = ["list", "dict", "tuple", "Pair", "Holder", "Named", "DeploymentHandle"]


@pytest.mark.parametrize(
    ("app", "labels", "types"),
    [
        (shapes.nested, NESTED, KINDS),
        (shapes.plain, ["in JSON", "deep in JSON"], ["list", "int"]),
    ],
    ids=["objects", "json"],
)
async def test_applications_at_any_depth_become_handles(
    mode: Mode, app: Application, labels: list[str], types: list[str]
) -> None:
    """The containers around them stay what they were."""
    async with run_app(app, mode=mode) as handle:
        assert await handle.labels.remote() == labels
        assert await handle.types.remote() == types


async def test_a_diamond_has_one_service_at_its_foot(mode: Mode) -> None:
    """One Application bound in two places is one instance, with one state."""
    async with run_app(shapes.diamond, mode=mode) as handle:
        left, right = await handle.each.remote("unique")
        assert left == right
        assert await handle.each.remote("bump") == [1, 2]


async def test_two_binds_are_two_services_with_names_of_their_own(mode: Mode) -> None:
    """The second one has a number."""
    async with run_app(shapes.twice, mode=mode) as handle:
        assert await handle.each.remote("name") == ["Leaf", "Leaf_1"]
        assert await handle.each.remote("bump") == [1, 1]


async def test_one_application_given_twice_is_one_handle(mode: Mode) -> None:
    """In one constructor they are the same object, as the applications were."""
    async with run_app(shapes.itself_twice, mode=mode) as handle:
        assert await handle.same_handle.remote()
        assert await handle.each.remote("bump") == [1, 2]


async def test_deployments_call_each_other_in_a_circle(mode: Mode) -> None:
    """A graph has no cycles, calls by name may."""
    async with run_app(shapes.circle, mode=mode) as handle:
        assert await handle.run.remote(3) == ["Ping", "Pong", "Ping", "Pong"]


async def test_replicas_share_the_calls(mode: Mode) -> None:
    """Concurrent calls reach every replica, each of which has an id of its own."""
    async with run_app(shapes.Pool.bind(), mode=mode) as handle:
        found: set[str] = set()
        async with asyncio.timeout(60):
            while len(found) < 3:
                found |= set(await asyncio.gather(*(handle.which.remote() for _ in range(30))))
    assert len(found) == 3


@pytest.mark.parametrize("name", ["Models/v1 (new)", "Ünïcode", "x" * 63, "import", "a--b"])
async def test_odd_names_are_served(mode: Mode, name: str) -> None:
    """A deployment's name is not a DNS name, but leads to one."""
    app = shapes.Leaf.options(name=name).bind()
    async with run_app(app, mode=mode, name="a-rather-long-application-name") as handle:
        assert await handle.name.remote() == name
        assert handle.deployment_name == name


async def test_a_deep_chain_of_deployments_passes_calls_through(mode: Mode) -> None:
    """Each of six services calls the next one."""
    app = shapes.Leaf.bind()
    for _ in range(5):
        app = shapes.Side.bind(app)
    async with run_app(app, mode=mode) as handle:
        assert await handle.name.remote() == "Leaf"


def _double(number: int) -> int:
    return number * 2


async def test_a_function_is_an_application_of_its_own(mode: Mode) -> None:
    """A graph of one node."""
    app = serve.deployment(_double).bind()
    async with run_app(app, mode=mode) as handle:
        assert isinstance(handle, DeploymentHandle)
        assert await handle.remote(21) == 42
