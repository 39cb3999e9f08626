"""Calls that a local mesh lets through and a built one would not."""

from __future__ import annotations

import logging

import pytest

from meshgen import serve
from meshgen.errors import NotServingError
from meshgen.graph import build_graph
from meshgen.runtime.edgewatch import EdgeWatch
from meshgen.spec import AppSpec, MeshSpec, app_spec


class Stock:
    """Is bound to the shop."""


class Clerk:
    """Is bound to nothing."""


class Shop:
    """The ingress."""

    def __init__(self, *handles: object) -> None:
        self.handles = handles


def _app(name: str) -> AppSpec:
    stock, clerk, shop = map(serve.deployment, (Stock, Clerk, Shop))
    return app_spec(build_graph(shop.bind(stock.bind(), clerk.bind()), app=name), "/")


MESH = MeshSpec(apps={name: _app(name) for name in ("shop", "other")})
STUBS = MESH.apps["shop"].stubs


def _told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """By the mesh; what earlier tests left behind may end in an asyncio warning at any time."""
    return [record for record in caplog.records if record.name == "meshgen"]


def test_a_call_without_an_edge_is_told_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    """Before the first container refuses it."""
    EdgeWatch(STUBS["Clerk"], lambda: MESH).called(STUBS["Stock"])
    (record,) = _told(caplog)
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "shop/Clerk calls shop/Stock by a handle that its constructor was not given: a built mesh "
        "would refuse that, unless @serve.deployment(may_call=['Stock']) declares it"
    )


def test_bound_calls_and_those_of_other_applications_are_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first is an edge, and the second is nothing that is built."""
    EdgeWatch(STUBS["Shop"], lambda: MESH).called(STUBS["Stock"])
    EdgeWatch(STUBS["Clerk"], lambda: MESH).called(MESH.apps["other"].stubs["Stock"])
    assert _told(caplog) == []


def test_a_mesh_that_is_gone_says_so_by_the_call(caplog: pytest.LogCaptureFixture) -> None:
    """And not by a warning about something else."""

    def gone() -> MeshSpec:
        raise NotServingError("this mesh was shut down")

    EdgeWatch(STUBS["Clerk"], gone).called(STUBS["Stock"])
    assert _told(caplog) == []
