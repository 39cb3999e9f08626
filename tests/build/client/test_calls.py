"""What a generated client sends and returns, against the conversions that replicas have."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import grpc
import numpy as np
import pytest

from tests.build.client.conftest import Service


def test_every_scalar_comes_back(service: Service) -> None:
    """Also what is zero or empty."""
    with service.client() as client:
        values = (
            True,
            -(2**63),
            0.1,
            "é🐙",
            b"\0\xff",
            date(2020, 2, 29),
            Decimal("1.10"),
            UUID(int=7),
        )
        assert client.echo.scalars(*values) == values
        empty = (False, 0, 0.0, "", b"", date.min, Decimal(0), UUID(int=0))
        assert client.echo.scalars(*empty) == empty


def test_moments_are_aware(service: Service) -> None:
    """In UTC; naive ones are taken as UTC; negative spans and microseconds are kept."""
    span = -timedelta(days=3, microseconds=1)
    east = datetime(1969, 12, 31, 23, 0, 0, 5, timezone(timedelta(hours=2)))
    with service.client() as client:
        at, back = client.echo.moments(at=east, span=span)
        assert (at, at.tzinfo, back) == (east, UTC, span)
        naive = datetime(2020, 1, 1)
        assert client.echo.moments(naive, span)[0] == naive.replace(tzinfo=UTC)


def test_classes_with_fields_have_the_service_s_fields(service: Service) -> None:
    """Nested in themselves, in lists, in dicts; defaults are the class's own."""
    item, red = service.types.Item, service.types.Color.RED
    nested = item("a", service.types.Color.blue, ["x"], [item("b")], (7,))
    with service.client() as client:
        found = client.echo.items([nested], {"c": item("c")})
    assert [each.name for each in found] == ["a", "c"]
    assert found[0].parts[0].name == "b" and found[0].sizes == (7,)
    assert (found[0].color, found[1].color) == (service.types.Color.blue, red)
    # A default that cannot be written down is the service's to fill in.
    assert item("c").sizes is service.package.UNSET and found[1].sizes == (1, 2)


def test_a_set_holds_what_was_hashable(service: Service) -> None:
    """A frozen dataclass is frozen here, too."""
    points = {service.types.Point(1), service.types.Point(2, 0.0)}
    with service.client() as client:
        found = client.echo.points(points)
    assert found == points and isinstance(found, frozenset)


def test_dicts_with_any_keys(service: Service) -> None:
    """Those that no Protobuf map can have travel as entries."""
    days = {date(2020, 1, 1): [1, 2], date(2021, 1, 1): []}
    pair = service.types.Pair
    with service.client() as client:
        found = client.echo.places(days, {1: pair("x", 5), 2: pair("y")})
    assert found == {**days, date(2000, 1, 1): [5, 0]}


@pytest.mark.parametrize("options", [{"limit": 1}, {"limit": 0, "order": []}])
def test_typed_dicts_are_dicts(service: Service, options: dict[str, Any]) -> None:
    """Keys that are missing stay missing."""
    with service.client() as client:
        assert client.echo.options(options) == options


def test_recursive_models(service: Service) -> None:
    """pydantic's are dataclasses here."""
    tree = service.types.Tree
    with service.client() as client:
        assert client.echo.tree(tree("a", [tree("b")])) == tree("b", [])
        assert client.echo.tree(tree("a")) is None


@pytest.mark.parametrize(
    "value", [None, True, 3, 2.5, "x", [], {}, [{"a": [None, 1]}], {"b": {"c": []}}]
)
def test_anything_that_json_can_hold(service: Service, value: Any) -> None:
    """As it is, and of the same type."""
    with service.client() as client:
        found = client.echo.anything(value)
    assert found == value and type(found) is type(value)


def test_unions_by_their_members(service: Service) -> None:
    """Each by its very type; None is none of them."""
    types = service.types
    with service.client() as client:
        for value in (3, "3", None):
            assert client.echo.one_of(value) == value
        assert client.echo.one_of(types.Point(9)) == types.Pair("point", 9)
        with pytest.raises(TypeError, match="expected one of .*int_value"):
            client.echo.one_of(object())


def test_literals_and_nested_lists(service: Service) -> None:
    """What has no field of its own in Protobuf is in messages."""
    rows = [[1, None], [], [3]]
    with service.client() as client:
        assert [client.echo.chosen(value) for value in ("a", 3)] == ["a", 3]
        assert client.echo.nested(rows) == {"0": [1, None], "1": [], "2": [3]}


def test_registered_classes_are_what_they_are_converted_to(service: Service) -> None:
    """The class itself is the service's."""
    with service.client() as client:
        assert client.echo.warmer(20.5, [1.0, 2.0]) == 23.5


def test_arrays_go_to_numpy_and_back(service: Service) -> None:
    """With its dtype and shape."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with service.client() as client:
        found = client.echo.double(service.package.Tensor.from_numpy(array)).to_numpy()
    assert found.dtype == array.dtype and (found == array * 2).all()


def test_defaults_are_the_service_s(service: Service) -> None:
    """What is left out is not sent; positional-only and keyword-only stay what they are."""
    with service.client() as client:
        assert client.echo.defaults(1) == "12[3]dNone"
        assert client.echo.defaults(1, 5, [], d="", e="e") == "15[]e"
        with pytest.raises(TypeError):
            client.echo.defaults(a=1)


def test_a_parameter_called_timeout_keeps_its_name(service: Service) -> None:
    """The call's own option gets another."""
    with service.client() as client:
        assert client.echo.list(timeout=5, timeout_=30, metadata_={"k": "v"}) == ["5m"]
    assert service.seen[-1]["k"] == "v"


def test_only_what_is_exposed_can_be_called(service: Service) -> None:
    """The ingress, by calling it, and what says so; nothing else has an attribute."""
    with service.client() as client:
        assert client.front("Dora") == "Hello Dora"
        assert client.echo.nothing() is None
        assert not hasattr(client, "inner")


def test_streams_are_iterators(service: Service) -> None:
    """Items as they come; ending the block ends the call."""
    with service.client() as client:
        assert [item.name for item in client.echo.count(3)] == ["0", "1", "2"]
        with client.echo.count(to=10**9) as items:
            assert next(items).name == "0"
        with pytest.raises(grpc.RpcError) as caught:
            next(items)
    assert caught.value.code() is grpc.StatusCode.CANCELLED


def test_a_deadline_of_the_call_or_of_the_client(service: Service) -> None:
    """Infinity lifts the client's."""
    with service.client(timeout=0.01) as client:
        with pytest.raises(grpc.RpcError) as caught:
            client.echo.slow(5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert client.echo.slow(0.05, timeout=math.inf) is None


def test_metadata_and_token_travel(service: Service) -> None:
    """With names in lower case, as HTTP/2 has them."""
    with service.client(token="secret") as client:
        client.echo.nothing(metadata={"X-Request-Id": "7"})
    # A call that was given up before may have come after this one.
    (seen,) = [each for each in service.seen if each.get("x-request-id") == "7"]
    assert seen["authorization"] == "Bearer secret"


async def test_the_async_client_has_the_same_methods(service: Service) -> None:
    """Unary calls are awaited, streams iterated over."""
    async with service.package.AsyncParrotClient(service.target, token="t") as client:
        assert await client.front(name="Dora", metadata={"own": "1"}) == "Hello Dora"
        (seen,) = [each for each in service.seen if each.get("own") == "1"]
        assert seen["authorization"] == "Bearer t"
        assert [item.name async for item in client.echo.count(3)] == ["0", "1", "2"]
        async with client.echo.count(10**9) as items:
            assert (await anext(items)).name == "0"
        with pytest.raises(grpc.RpcError) as caught:
            await client.echo.slow(5, timeout=0.01)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_async_calls_run_beside_each_other(service: Service) -> None:
    """Over one connection."""
    import asyncio

    async with service.package.AsyncParrotClient(service.target) as client:
        names = [f"n{n}" for n in range(20)]
        found = await asyncio.gather(*(client.front(name) for name in names))
    assert found == [f"Hello {name}" for name in names]
