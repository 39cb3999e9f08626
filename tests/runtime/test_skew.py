"""Two builds of one mesh side by side: which callers fit, and how the others are refused."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen import __version__
from meshgen.errors import ProtocolError, SignatureError
from meshgen.runtime.network import GrpcNetwork, MemoryNetwork, MemoryPeer
from meshgen.runtime.replica import Replica
from meshgen.runtime.skew import check_methods, fits, methods_text
from meshgen.serve.handle import DeploymentHandle
from meshgen.stub import DeploymentStub, MethodStub, method_stubs
from meshgen.types import DeploymentID
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import (
    lone_replica,
    mesh_caller,
    over_tcp,
    spec_of,
    started,
    until,
)

ADDER = DeploymentID("default", "Adder")


def _method(function: Callable[..., Any]) -> MethodStub:
    return method_stubs(function)["__call__"]


def _stub(**functions: Callable[..., Any]) -> DeploymentStub:
    class Target:
        pass

    for name, function in functions.items():
        setattr(Target, name, staticmethod(function))
    return DeploymentStub(id=ADDER, service="adder", methods=method_stubs(Target))


def _hello(stub: DeploymentStub) -> pb.Hello:
    return pb.Hello(caller="default/Caller#0", methods=methods_text(stub), version="0.9")


FITTING: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda: 0, lambda: 0),
    (lambda x: 0, lambda x: 0),
    (lambda x: 0, lambda x=1: 0),
    (lambda x: 0, lambda x, y=1: 0),
    (lambda x: 0, lambda x, *, y=1: 0),
    (lambda x: 0, lambda x, *args, **kwargs: 0),
    (lambda x, y: 0, lambda *args, **kwargs: 0),
    (lambda x, /: 0, lambda x: 0),
    (lambda x, /: 0, lambda *args: 0),
    (lambda x, *, k: 0, lambda x, y=0, *, k: 0),
    (lambda x, *, k: 0, lambda x, k: 0),
    (lambda *, k: 0, lambda **kwargs: 0),
    (lambda *args, **kwargs: 0, lambda *args, **kwargs: 0),
    (lambda x, **kwargs: 0, lambda x, y=1, **kwargs: 0),
]
UNFIT: list[tuple[Callable[..., Any], Callable[..., Any]]] = [
    (lambda x, y: 0, lambda x: 0),
    (lambda x: 0, lambda x, y: 0),
    (lambda x=1: 0, lambda x: 0),
    (lambda x: 0, lambda z: 0),
    (lambda x, y: 0, lambda y, x: 0),
    (lambda x: 0, lambda x, /: 0),
    (lambda x: 0, lambda *, x: 0),
    (lambda x: 0, lambda *args: 0),
    (lambda x: 0, lambda x, *, y: 0),
    (lambda x, *, k: 0, lambda x: 0),
    (lambda x, *, k=1: 0, lambda x, *, k: 0),
    (lambda *args: 0, lambda x=1: 0),
    (lambda **kwargs: 0, lambda x=1: 0),
    (lambda x, *args: 0, lambda x, y=1, *args: 0),
]


def _id(function: object) -> str:
    return str(inspect.signature(function)) if callable(function) else ""


@pytest.mark.parametrize(("known", "found"), FITTING, ids=_id)
def test_what_takes_every_call_fits(known: Callable[..., Any], found: Callable[..., Any]) -> None:
    """Optional parameters may come to it."""
    assert fits(_method(known), _method(found))


@pytest.mark.parametrize(("known", "found"), UNFIT, ids=_id)
def test_what_some_call_would_not_bind_to_does_not_fit(
    known: Callable[..., Any], found: Callable[..., Any]
) -> None:
    """Or would bind to other parameters."""
    assert not fits(_method(known), _method(found))


_EVERY = [function for pair in FITTING + UNFIT for function in pair]


@settings(deadline=None)
@given(
    known=st.sampled_from(_EVERY),
    found=st.sampled_from(_EVERY),
    args=st.lists(st.integers(), max_size=3),
    names=st.sets(st.sampled_from(["x", "y", "z", "k"])),
)
def test_where_methods_fit_no_call_fails(
    known: Callable[..., Any], found: Callable[..., Any], args: list[int], names: set[str]
) -> None:
    """Every call that the caller's signature lets through binds at the replica."""
    if fits(_method(known), _method(found)):
        kwargs = dict.fromkeys(sorted(names), 0)
        try:
            _method(known).check(ADDER, args, kwargs)
        except SignatureError:
            return
        found(*args, **kwargs)


def test_a_generator_is_no_plain_method() -> None:
    """Its calls travel otherwise."""
    assert not fits(MethodStub(name="f", streams=True), MethodStub(name="f"))


def test_a_signature_that_nobody_can_read_fits() -> None:
    """On either side."""
    unknown, known = MethodStub(name="f"), MethodStub(name="f", parameters=())
    assert fits(unknown, known) and fits(known, unknown)


def test_new_methods_and_those_of_no_list_fit() -> None:
    """Callers that know less, and replicas that answer to any name."""
    less, more = _stub(add=lambda x: 0), _stub(add=lambda x: 0, take=lambda x: 0)
    check_methods(_hello(less), more, "default/Adder#1")
    check_methods(pb.Hello(), more, "default/Adder#1")
    answers_all = DeploymentStub(id=ADDER, service="adder", open_ended=True)
    check_methods(_hello(more), answers_all, "default/Adder#1")


@pytest.mark.parametrize(
    ("found", "there"),
    [
        ({"add": lambda x: 0}, "add(x)"),
        ({"add": lambda x, y, z, w=1: 0}, "add(x, y, z, w=...)"),
        ({"take": lambda: 0}, "no add"),
    ],
    ids=["fewer", "more", "none"],
)
def test_who_does_not_fit_is_told_what_differs(found: dict[str, Any], there: str) -> None:
    """Both sides by name and version, and what to do."""
    with pytest.raises(ProtocolError) as caught:
        check_methods(_hello(_stub(add=lambda x, y: 0)), _stub(**found), "default/Adder#1")
    assert str(caught.value) == (
        "default/Caller#0 (meshgen 0.9) knows default/Adder.add(x, y), "
        f"but default/Adder#1 (meshgen {__version__}) has {there}: "
        "deploy both from one build, or let new parameters have defaults"
    )


def test_a_caller_of_a_later_version_may_say_more() -> None:
    """What this version does not know does not matter to it."""
    said = json.loads(methods_text(_stub(add=lambda x: 0)))
    said["add"]["idempotent"] = said["add"]["parameters"][0]["type"] = "later"
    hello = pb.Hello(caller="x", methods=json.dumps(said))
    check_methods(hello, _stub(add=lambda x, y=1: 0), "default/Adder#1")


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "[1]",
        '{"f": 1}',
        '{"f": {}}',
        '{"f": {"streams": false, "parameters": 1}}',
        '{"f": {"streams": false, "parameters": [1]}}',
        '{"f": {"streams": 0, "parameters": [{"name": "x", "kind": "NO", "required": 1}]}}',
        '{"f": {"streams": 0, "parameters": [{"name": "x", "kind": "empty", "required": 1}]}}',
        '{"f": {"streams": 0, "parameters": [{"name": 1, "kind": "KEYWORD_ONLY", "required": 1}]}}',
        "[" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_methods_that_cannot_be_read_are_refused(text: str) -> None:
    """By the name of who sent them."""
    with pytest.raises(ProtocolError, match="somebody sent methods that cannot be read"):
        check_methods(pb.Hello(caller="somebody", methods=text), _stub(f=lambda: 0), "r")


class _Old:
    async def add(self, x: int, y: int) -> str:
        return "old"


class _New:
    async def add(self, x: int) -> str:
        return "new"


async def _builds(memory: MemoryNetwork, caller: Any) -> list[Replica]:
    """A replica of the old and one of the new build, of one name."""
    specs = [spec_of(target, name="Adder") for target in (_Old, _New)]
    replicas = [await started(spec, caller, f"{n}") for n, spec in enumerate(specs)]
    memory.replicas[specs[0].stub.id] = replicas
    return replicas


async def test_calls_go_to_the_build_that_fits() -> None:
    """Each caller's to its own, while both are there; none is lost."""
    memory = MemoryNetwork()
    async with mesh_caller(memory) as caller:
        old, new = replicas = await _builds(memory, caller)
        for replica, args in ((old, (1, 2)), (new, (1,))):
            handle = DeploymentHandle(replica.stub, caller=caller)
            said = [await handle.add.remote(*args) for _ in range(20)]
            assert set(said) == {"old" if replica is old else "new"}
        for replica in replicas:
            await replica.drain()
            await replica.close()


async def test_over_a_wire_the_reason_arrives() -> None:
    """And no call is sent before it is known whether it fits."""
    async with lone_replica(_New, name="Adder") as replica, over_tcp(replica) as mesh:
        network, stub = GrpcNetwork(template="unix:", name="test"), spec_of(_Old, name="Adder").stub
        peer = network.connect(stub, mesh.addresses[0], lambda _: None)
        peer.start()
        await until(lambda: peer.closed)
        assert "test (meshgen 0.1.0) knows default/Adder.add(x, y), but default/Adder#0" in (
            peer.failure
        )
        assert peer.session.state == pb.State() and peer.is_unfit
        await peer.close()


async def test_within_a_process_it_arrives_too() -> None:
    """A peer that does not fit is hardly tried again, whatever carries its messages."""
    async with lone_replica(_New, name="Adder") as replica:
        stub = spec_of(_Old, name="Adder").stub
        peer = MemoryPeer("0", lambda _: None, replica, stub)
        peer.start()
        await until(lambda: peer.closed)
        assert "knows default/Adder.add(x, y)" in peer.failure and peer.is_unfit
        await peer.close()
