"""Graphs of many shapes: where handles can be, and who shares what."""

import asyncio
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment
class Leaf:
    def __init__(self, label: str = "leaf") -> None:
        self.label = label
        self.identity = uuid4().hex
        self.count = 0

    def __call__(self) -> str:
        return self.label

    def name(self) -> str:
        return serve.get_replica_context().deployment

    def unique(self) -> str:
        return self.identity

    async def bump(self) -> int:
        self.count += 1
        return self.count


@dataclass(frozen=True)
class Pair:
    left: Any
    right: Any


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


Named = namedtuple("Named", "first second")


@serve.deployment
class Nested:
    """Whose constructor gets handles at any depth."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs

    async def labels(self) -> list[str]:
        found: list[DeploymentHandle] = []
        collect((self.args, self.kwargs), found)
        return [await handle.remote() for handle in found]

    def types(self) -> list[str]:
        return [type(value).__name__ for value in (*self.args, *self.kwargs.values())]


def collect(value: Any, found: list[DeploymentHandle]) -> None:
    if isinstance(value, DeploymentHandle):
        found.append(value)
    elif isinstance(value, dict):
        collect(tuple(value.values()), found)
    elif isinstance(value, (list, tuple, set)):
        for each in value:
            collect(each, found)
    elif isinstance(value, (Pair, Holder)):
        collect(tuple(vars(value).values()), found)


@serve.deployment
class Side:
    def __init__(self, shared: DeploymentHandle) -> None:
        self.shared = shared

    async def unique(self) -> str:
        return str(await self.shared.unique.remote())

    async def bump(self) -> int:
        return int(await self.shared.bump.remote())

    async def name(self) -> str:
        return str(await self.shared.name.remote())


@serve.deployment
class Top:
    def __init__(self, left: DeploymentHandle, right: DeploymentHandle) -> None:
        self.sides = left, right

    async def each(self, method: str) -> list[Any]:
        return [await side.options(method_name=method).remote() for side in self.sides]

    def same_handle(self) -> bool:
        return self.sides[0] is self.sides[1]


@serve.deployment
class Link:
    """One of a chain of deployments that call each other in a circle, found by name."""

    def __init__(self, next_name: str) -> None:
        self.next_name = next_name

    async def count_down(self, number: int) -> list[str]:
        name = serve.get_replica_context().deployment
        if number == 0:
            return [name]
        following = serve.get_deployment_handle(self.next_name)
        return [name, *await following.count_down.remote(number - 1)]


@serve.deployment(num_replicas=3)
class Pool:
    def which(self) -> str:
        return serve.get_replica_context().replica_id


@serve.deployment
class Stuck:
    """Whose constructor never ends."""

    async def __init__(self, leaf: DeploymentHandle) -> None:
        print("constructing")
        await asyncio.Event().wait()


@serve.deployment
class Circle:
    def __init__(self, *links: DeploymentHandle) -> None:
        self.links = links

    async def run(self, number: int) -> list[str]:
        found: list[str] = await self.links[0].count_down.remote(number)
        return found


shared = Leaf.bind("shared")

nested = Nested.bind(
    [Leaf.bind("in a list")],
    {"key": Leaf.bind("in a dict")},
    (Leaf.bind("in a tuple"), [Leaf.bind("deeper")]),
    Pair(Leaf.bind("left"), right=Leaf.bind("right")),
    Holder({"a": [Holder(Leaf.bind("in objects"))]}),
    Named(Leaf.bind("in a named tuple"), OrderedDict(x=Leaf.bind("ordered"))),
    by_keyword=Leaf.bind("by keyword"),
)
plain = Nested.bind([Leaf.bind("in JSON"), {"x": Leaf.bind("deep in JSON")}], 3)
diamond = Top.bind(Side.bind(shared), Side.bind(shared))
twice = Top.bind(Side.bind(Leaf.bind("one")), Side.bind(Leaf.bind("two")))
itself_twice = Top.bind(shared, shared)
circle = Circle.bind(Link.options(name="Ping").bind("Pong"), Link.options(name="Pong").bind("Ping"))
replicas = Nested.bind(Pool.bind())
