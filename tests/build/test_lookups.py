"""Edges that no constructor is given: deployments that are looked up by name."""

from __future__ import annotations

from collections.abc import Sequence

from meshgen import serve
from meshgen.build.lookups import unreadable_lookups, with_lookups
from meshgen.graph import Graph, build_graph
from meshgen.spec import app_spec


class Literal:
    """Looks two up by their names, one of them elsewhere."""

    async def ask(self) -> object:
        """The name is there to be read."""
        stock = serve.get_deployment_handle("Stock")
        other = serve.get_deployment_handle(deployment_name="Computed", app_name="another")
        return stock, other


class Computed:
    """Looks up whatever it is told to."""

    async def ask(self, name: str) -> object:
        """The name is known when it runs."""
        return serve.get_deployment_handle(name)


class Back:
    """Calls who has called it."""

    async def ask(self, name: str) -> object:
        """The application's name is known when it runs; its ingress is known now."""
        return serve.get_app_handle(name)


class Stock:
    """Looks nothing up."""


class Shop:
    """The ingress."""

    def __init__(self, *handles: object) -> None:
        self.handles = handles


def _graph(may_call: Sequence[str] = ()) -> Graph:
    literal, back, stock, shop = map(serve.deployment, (Literal, Back, Stock, Shop))
    computed = serve.deployment(Computed, may_call=may_call)
    bound = [each.bind() for each in (literal, computed, back, stock)]
    return build_graph(shop.bind(*bound), app="shop")


def test_a_name_in_the_source_is_an_edge() -> None:
    """In this application; the name of another one says nothing here."""
    edges = with_lookups(app_spec(_graph(), "/"), _graph()).edges
    assert edges["Literal"] == ("Stock",)
    assert edges["Back"] == ("Shop",)
    assert edges["Computed"] == edges["Stock"] == ()
    assert edges["Shop"] == ("Back", "Computed", "Literal", "Stock")


def test_a_name_that_cannot_be_read_is_told() -> None:
    """With the deployment, the place, and what to do."""
    (sentence,) = unreadable_lookups(_graph())
    assert sentence.startswith("Computed looks deployments up by names that cannot be read")
    assert "test_lookups.py:" in sentence and "may_call=[...]" in sentence


def test_what_is_declared_needs_no_reading() -> None:
    """It is an edge, and nobody is told."""
    graph = _graph(may_call=["Stock"])
    assert unreadable_lookups(graph) == []
    assert with_lookups(app_spec(graph, "/"), graph).edges["Computed"] == ("Stock",)
