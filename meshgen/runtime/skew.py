"""Whether a caller's calls fit a replica, where the two may be of different builds.

They do if each method that the caller knows is there, and every call that its signature lets
through binds to the same parameters here. So a newer build may add methods and optional parameters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from meshgen import __version__
from meshgen.errors import ProtocolError
from meshgen.specfiles import methods_json
from meshgen.stub import DeploymentStub, MethodStub, Parameter
from meshgen.v1 import mesh_pb2 as pb


@lru_cache(maxsize=256)
def methods_text(stub: DeploymentStub) -> str:
    """The methods of a stub as they travel in a HELLO."""
    return json.dumps(methods_json(stub), separators=(",", ":"))


def check_methods(hello: pb.Hello, stub: DeploymentStub, replica: str) -> None:
    """Refuse a caller whose calls do not fit; one that does not say what it knows always fits.

    Raises:
        ProtocolError: Names both sides, their versions and what differs.
    """
    if not hello.methods or hello.methods == methods_text(stub):
        return
    for known in _read(hello).values():
        found = stub.methods.get(known.name)
        if found is None and stub.open_ended:
            continue
        if found is None or not fits(known, found):
            raise ProtocolError(_sentence(hello, stub, replica, known, found))


def fits(known: MethodStub, found: MethodStub) -> bool:
    """Whether every call of the method as a caller knows it is one of the method that is there."""
    if known.streams != found.streams:
        return False
    if known.parameters is None or found.parameters is None:
        return True
    return _Matching(known.parameters, found.parameters).fits()


class _Matching:
    """The parameters that a caller knows beside those that there are."""

    def __init__(self, known: Sequence[Parameter], found: Sequence[Parameter]) -> None:
        self._known = known
        self._found = found
        self._kinds = {parameter.kind for parameter in found}

    def fits(self) -> bool:
        gathers = {p.kind for p in self._known if p.kind.startswith("VAR")}
        if not gathers <= self._kinds:
            return False
        known, found = _positional(self._known), _positional(self._found)
        if "VAR_POSITIONAL" in gathers and len(found) > len(known):
            return False  # what was gathered would become other parameters
        if not all(self._takes_at(place, each) for place, each in enumerate(known)):
            return False
        named = {p.name: p for p in self._known if p.kind == "KEYWORD_ONLY"}
        rest = [*found[len(known) :], *(p for p in self._found if p.kind == "KEYWORD_ONLY")]
        if not all(self._takes_named(p, rest) for p in named.values()):
            return False
        return not any(p.required and p.name not in named for p in rest)

    def _takes_at(self, place: int, known: Parameter) -> bool:
        found = _positional(self._found)
        if place >= len(found):
            by_name = known.kind == "POSITIONAL_ONLY" or "VAR_KEYWORD" in self._kinds
            return "VAR_POSITIONAL" in self._kinds and by_name
        same_kind = found[place].kind in (known.kind, "POSITIONAL_OR_KEYWORD")
        return same_kind and _same(known, found[place])

    def _takes_named(self, known: Parameter, rest: Sequence[Parameter]) -> bool:
        same = [p for p in rest if p.name == known.name and p.kind != "POSITIONAL_ONLY"]
        return _same(known, same[0]) if same else "VAR_KEYWORD" in self._kinds


def _positional(parameters: Sequence[Parameter]) -> list[Parameter]:
    return [p for p in parameters if p.kind.startswith("POSITIONAL")]


def _same(known: Parameter, found: Parameter) -> bool:
    return known.name == found.name and (known.required or not found.required)


def _read(hello: pb.Hello) -> Mapping[str, MethodStub]:
    try:
        return {name: _method(name, told) for name, told in json.loads(hello.methods).items()}
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise ProtocolError(f"{hello.caller} sent methods that cannot be read: {exc!r}") from exc


def _method(name: str, told: Mapping[str, object]) -> MethodStub:
    parameters = told["parameters"]
    if parameters is not None:
        if not isinstance(parameters, list):
            raise TypeError(f"parameters of {name} are no list")
        # Whatever else a later version may say of them.
        parameters = tuple(
            Parameter(name=p["name"], kind=p["kind"], required=p["required"]) for p in parameters
        )
    method = MethodStub(name=name, streams=bool(told["streams"]), parameters=parameters)
    _ = method.signature  # fails here and now if it is none
    return method


def _sentence(
    hello: pb.Hello,
    stub: DeploymentStub,
    replica: str,
    known: MethodStub,
    found: MethodStub | None,
) -> str:
    there = f"no {known.name}" if found is None else _shown(found)
    return (
        f"{hello.caller} (meshgen {hello.version or 'of unknown version'}) knows "
        f"{stub.id}.{_shown(known)}, but {replica} (meshgen {__version__}) has {there}: "
        "deploy both from one build, or let new parameters have defaults"
    )


def _shown(method: MethodStub) -> str:
    signature = "(...)" if method.parameters is None else str(method.signature)
    shown = method.name + signature.replace("=None", "=...")
    return f"{shown}, a generator" if method.streams else shown
