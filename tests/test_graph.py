"""From a bound application to named services: order, names, sharing, and every problem at once."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest

from meshgen import serve
from meshgen.errors import BuildError, OptionError, OptionTypeError
from meshgen.graph import Graph, build_graph


class _Anything:
    """Its constructor takes anything."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.given = (args, kwargs)

    def work(self) -> None:
        """Do nothing."""


# Not `@serve.deployment`: mypy ignores what a decorator makes of a class.
D = serve.deployment(_Anything, name="D")


@serve.deployment
def double(x: int) -> int:
    """Serve as a function deployment."""
    return 2 * x


def _named(name: str, *args: Any, **kwargs: Any) -> serve.Application:
    return D.options(name=name).bind(*args, **kwargs)


def _names(graph: Graph) -> list[str]:
    return [node.stub.id.name for node in graph.nodes]


def test_children_come_before_their_callers_and_the_ingress_last() -> None:
    """Services can be started in this order."""
    graph = build_graph(_named("Root", _named("Left", _named("Deep")), x=[_named("Right")]))
    assert _names(graph) == ["Deep", "Left", "Right", "Root"]
    assert graph.ingress.stub.id.name == "Root"


def test_a_diamond_is_one_service() -> None:
    """One Application bound in two places: one node, two edges."""
    shared = _named("Shared")
    graph = build_graph(_named("Root", _named("Left", shared), _named("Right", {"s": (shared,)})))
    assert _names(graph) == ["Shared", "Left", "Right", "Root"]
    assert [(str(a), str(b)) for a, b in graph.edges()] == [
        ("default/Left", "default/Shared"),
        ("default/Right", "default/Shared"),
        ("default/Root", "default/Left"),
        ("default/Root", "default/Right"),
    ]


def test_an_application_given_twice_to_one_constructor_is_one_edge() -> None:
    """A callee is listed once."""
    shared = _named("Shared")
    assert len(list(build_graph(_named("Root", shared, [shared])).edges())) == 1


def test_two_binds_of_one_deployment_are_two_services(caplog: pytest.LogCaptureFixture) -> None:
    """They are numbered in the order in which one meets them, and a warning says so."""
    first, second, third = D.bind(), D.bind(), D.bind()
    with caplog.at_level(logging.WARNING, "meshgen"):
        graph = build_graph(_named("Root", first, [second], third))
    assert [graph.name_of(app) for app in (first, second, third)] == ["D", "D_1", "D_2"]
    assert [record.getMessage() for record in caplog.records] == [
        "deployment D is bound more than once; this one is D_1",
        "deployment D is bound more than once; this one is D_2",
    ]


def test_a_caller_is_named_before_its_callees() -> None:
    """Depth first, parents first: the ingress keeps the plain name."""
    assert _names(build_graph(D.bind(D.bind(D.bind())))) == ["D_2", "D_1", "D"]


def test_numbering_steps_over_a_name_that_is_taken() -> None:
    """A user's own D_1 keeps its name."""
    assert _names(build_graph(_named("Root", _named("D_1"), D.bind(), D.bind()))) == [
        *("D_1", "D", "D_2", "Root"),
    ]


def test_each_node_knows_its_methods() -> None:
    """Handles are stubs generated from the graph."""
    graph = build_graph(_named("Root", double.bind()), app="shop")
    function, root = graph.nodes
    assert function.stub.is_function and set(function.stub.methods) == {"__call__"}
    assert not root.stub.is_function and set(root.stub.methods) == {"work"}
    assert function.stub.service == "double"
    assert str(root.stub.id) == "shop/Root"


def test_a_class_with_getattr_is_open_ended() -> None:
    """Its methods cannot be known beforehand."""

    class Proxy:
        def __getattr__(self, name: str) -> Any:
            return name

    assert build_graph(serve.deployment(Proxy).bind()).ingress.stub.open_ended
    assert not build_graph(D.bind()).ingress.stub.open_ended


def test_a_configuration_that_nobody_would_take_is_a_problem() -> None:
    """Said before anything starts, not by a replica that cannot be constructed."""
    with pytest.raises(BuildError, match=r"D: it has a user_config.*no reconfigure"):
        build_graph(D.options(user_config={"size": 1}).bind())


def test_all_problems_are_listed_together() -> None:
    """One build, one list: names that cannot be, names that clash, arguments that cannot go."""
    lock = threading.Lock()
    app = _named(
        "Root",
        _named("模型"),
        _named("gateway"),
        _named("my-part"),
        _named("MyPart"),
        _named("Bad", 1, lock, guard=lock),
    )
    with pytest.raises(BuildError) as caught:
        build_graph(app)
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 5
    assert "模型: this name cannot become a DNS name" in problems
    assert "gateway: this name would become 'gateway', which is the mesh's own" in problems
    assert "MyPart: this name becomes the service 'my-part', as my-part does" in problems
    assert "Bad: argument 2 (lock) cannot be pickled" in problems
    assert "Bad: argument 'guard' (lock) cannot be pickled" in problems
    assert str(caught.value) == problems


@pytest.mark.parametrize("app", ["", None, 3, "..", "a/b", "naïve", "-x"])
def test_an_app_needs_a_name_that_can_be_a_folder(app: Any) -> None:
    """It goes into paths and messages: empty is refused, and so is what could leave a folder."""
    with pytest.raises(OptionError, match="an application's name must be"):
        build_graph(D.bind(), app=app)


@pytest.mark.parametrize("app", ["default", "my_app", "app-2.1", "2fast"])
def test_ordinary_app_names_pass(app: str) -> None:
    """What a build asks of them beyond that is the build's own business."""
    assert build_graph(D.bind(), app=app).app == app


@pytest.mark.parametrize("root", [D, D.func_or_class, None, "app"])
def test_only_a_bound_application_is_a_graph(root: Any) -> None:
    """A TypeError that names `.bind()`."""
    with pytest.raises(OptionTypeError, match=r"Deployment\.bind\(\)"):
        build_graph(root)
