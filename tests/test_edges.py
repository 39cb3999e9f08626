"""Who may call whom: what `mesh.json` says beside what a certificate says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshgen import serve
from meshgen.edges import Identity, may_call, read_identity
from meshgen.graph import build_graph
from meshgen.spec import AppSpec, MeshSpec, TypedService, app_spec
from meshgen.tasks.home import APP, TASKS
from meshgen.tasks.service import task_graph
from meshgen.types import DeploymentID


class _Stock:
    """Nobody binds it to the clerk."""


class _Clerk:
    """Has been given nothing."""


class _Shop:
    """Has been given both."""

    def __init__(self, *handles: object) -> None:
        self.handles = handles


Stock = serve.deployment(_Stock, name="Stock")
Clerk = serve.deployment(_Clerk, name="Clerk")
Shop = serve.deployment(_Shop, name="Shop")


def _app() -> AppSpec:
    return app_spec(build_graph(Shop.bind(Stock.bind(), Clerk.bind()), app="shop"), "/")


MESH = MeshSpec(apps={"shop": _app()})
STOCK, CLERK, SHOP = (DeploymentID("shop", name) for name in ("Stock", "Clerk", "Shop"))


def _service(name: str) -> Identity:
    return Identity(project="shop", name=name)


def _client(*names: str) -> Identity:
    return Identity(project="shop", name="dora", is_client=True, may_call=frozenset(names))


@pytest.mark.parametrize(
    "identity",
    [_service("language-classifier"), _client(), _client("Stock", "a/b?c&d"), _client("*")],
    ids=str,
)
def test_an_identity_survives_its_certificate(identity: Identity) -> None:
    """As the one URI of meshgen's among other names."""
    assert read_identity(["shop", "spiffe://other", identity.uri]) == identity


@pytest.mark.parametrize("names", [(), ("stock",), ("https://shop/stock",), ("meshgen://shop",)])
def test_a_certificate_of_something_else_is_nobodys(names: tuple[str, ...]) -> None:
    """Whatever names it has."""
    assert read_identity(names) is None


def test_a_handle_given_to_a_constructor_is_an_edge() -> None:
    """From that service to the deployment, and not back."""
    assert may_call(MESH, _service("shop"), STOCK)
    assert not may_call(MESH, _service("stock"), SHOP)


def test_an_edge_that_was_never_bound_is_none() -> None:
    """Members of one mesh or not."""
    assert not may_call(MESH, _service("clerk"), STOCK)
    assert not may_call(MESH, _service("stock"), STOCK)


@pytest.mark.parametrize("names", [["Stock"], ["*"]])
def test_an_edge_may_be_declared(names: list[str]) -> None:
    """For handles that a deployment looks up by name, or is given while it runs."""
    clerk = Clerk.options(may_call=names)
    app = app_spec(build_graph(Shop.bind(Stock.bind(), clerk.bind()), app="shop"), "/")
    mesh = MeshSpec(apps={"shop": app})
    assert may_call(mesh, _service("clerk"), STOCK)
    assert may_call(mesh, _service("clerk"), SHOP) is (names == ["*"])


def test_the_gateway_calls_what_it_serves_and_nothing_else() -> None:
    """The ingress, and what is exposed."""
    gateway = _service("gateway")
    assert may_call(MESH, gateway, SHOP)
    assert not may_call(MESH, gateway, STOCK)
    app = replace(_app(), typed={"Stock": TypedService(name="shop.stock.v1.Stock", rpcs={})})
    assert may_call(MeshSpec(apps={"shop": app}), gateway, STOCK)


def test_without_a_route_the_gateway_does_not_call_the_ingress() -> None:
    """Nothing from outside leads there."""
    mesh = MeshSpec(apps={"shop": replace(_app(), route_prefix=None)})
    assert not may_call(mesh, _service("gateway"), SHOP)


def test_a_client_calls_what_is_public_and_what_its_certificate_says() -> None:
    """By a deployment's name, or all."""
    assert may_call(MESH, _client(), SHOP)
    assert not may_call(MESH, _client(), STOCK)
    assert may_call(MESH, _client("Stock"), STOCK)
    assert not may_call(MESH, _client("Stock"), CLERK)
    assert may_call(MESH, _client("*"), CLERK)


def test_everybody_may_have_tasks_done_and_tasks_call_everybody() -> None:
    """What a task calls follows from what it is given; the gateway gives none."""
    tasks = app_spec(task_graph(), None)
    mesh = MeshSpec(apps={"shop": _app(), APP: tasks})
    assert may_call(mesh, _service("clerk"), TASKS)
    assert may_call(mesh, _service(TASKS.name), STOCK)
    assert not may_call(mesh, _service("gateway"), TASKS)
    assert not may_call(mesh, _client(), TASKS)


def test_a_deployment_that_is_not_there_has_no_callers() -> None:
    """Whoever asks."""
    for identity in (_service("shop"), _service("gateway"), _client()):
        assert not may_call(MESH, identity, DeploymentID("other", "Stock"))
