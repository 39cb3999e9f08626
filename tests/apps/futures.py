"""Deployments that make values, and others that take them before or after they are there."""

import asyncio
import os
import threading
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


class Unwell(Exception):
    def __init__(self, reason: str, degrees: int) -> None:
        super().__init__(reason, degrees)
        self.degrees = degrees


@dataclass
class Parcel:
    content: Any


class Bag:
    """An object with an attribute."""

    def __init__(self, content: Any) -> None:
        self.content = content


class Gates:
    """Calls that wait until a test says so, and tests that wait until a call has begun."""

    def __init__(self) -> None:
        self.begun: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def begin(self, tag: str) -> None:
        await self.begun[tag].wait()

    async def open(self, tag: str) -> None:
        self.gates[tag].set()

    async def pass_gate(self, tag: str) -> None:
        self.begun[tag].set()
        await self.gates[tag].wait()


@serve.deployment(max_ongoing_requests=300)
class Maker(Gates):
    async def add(self, left: int, right: int = 0) -> int:
        return left + right

    async def late(self, tag: str, value: Any) -> Any:
        await self.pass_gate(tag)
        return value

    async def late_block(self, tag: str, size: int) -> Any:
        await self.pass_gate(tag)
        return np.ones(size, dtype="u1")

    def block(self, size: int) -> Any:
        return np.ones(size, dtype="u1")

    async def process(self) -> int:
        return os.getpid()

    async def unpicklable(self) -> Any:
        return threading.Lock()

    async def fail(self, reason: str) -> None:
        raise Unwell(reason, 39)

    async def fail_late(self, tag: str) -> None:
        await self.pass_gate(tag)
        raise Unwell(tag, 40)

    async def die_late(self, tag: str) -> None:
        await self.pass_gate(tag)
        os._exit(3)


@serve.deployment(max_ongoing_requests=300)
class Taker(Gates):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.kept: dict[str, Any] = {}

    async def add(self, left: int, right: int = 0) -> int:
        self.calls += 1
        return left + right

    def add_in_thread(self, left: int, right: int = 0) -> int:
        self.calls += 1
        return left + right

    async def total(self, *numbers: int, **named: int) -> int:
        self.calls += 1
        return sum(numbers) + sum(named.values())

    async def count(self) -> int:
        return self.calls

    async def size(self, array: Any) -> int:
        self.calls += 1
        return int(array.sum())

    async def type_of(self, value: Any) -> str:
        return type(value).__name__

    async def counts(self, top: int):
        for number in range(top):
            yield number

    # ---- by reference

    async def open_box(self, box: Any) -> tuple[str, Any]:
        found = content_of(box)
        return type(found).__name__, await found

    def open_box_in_thread(self, box: Any) -> Any:
        async def wait() -> Any:
            return await content_of(box)

        return asyncio.run(wait())

    async def begin_with(self, tag: str, box: Any) -> Any:
        self.begun[tag].set()
        return await content_of(box)

    async def open_late(self, tag: str, box: Any) -> int:
        await self.pass_gate(tag)
        return int(np.sum(await content_of(box)))

    async def twice(self, box: Any) -> list[int]:
        ref = content_of(box)
        return [np.size(await ref), np.size(await ref)]

    async def types(self, *values: Any, **named: Any) -> list[str]:
        return [type(value).__name__ for value in (*values, *named.values())]

    async def same(self, one: list[Any], other: list[Any]) -> bool:
        return one[0] is other[0] or one[0] == other[0]

    async def keep(self, tag: str, box: Any) -> None:
        self.kept[tag] = content_of(box)

    async def kept_size(self, tag: str) -> int:
        return int(np.sum(await self.kept[tag]))

    async def let_go(self, tag: str) -> None:
        del self.kept[tag]

    async def give(self, tag: str) -> Any:
        return [self.kept[tag]]

    async def drop(self, box: Any) -> str:
        return "dropped"


def content_of(box: Any) -> Any:
    """The one thing in containers of any kind."""
    if isinstance(box, dict):
        return content_of(next(iter(box.values())))
    if isinstance(box, list | tuple | set):
        return content_of(next(iter(box)))
    return content_of(box.content) if isinstance(box, Parcel | Bag) else box


SHAPES: dict[str, Any] = {
    "list": lambda ref: [ref],
    "tuple": lambda ref: (ref,),
    "dict": lambda ref: {"key": ref},
    "set": lambda ref: {ref},
    "dataclass": Parcel,
    "attribute": Bag,
    "deeper": lambda ref: [(Parcel({"key": ref}),)],
}


@serve.deployment(max_ongoing_requests=1)
class Narrow:
    """Takes one call at a time."""

    def echo(self, value: Any) -> Any:
        return value


@serve.deployment(max_ongoing_requests=300)
class Relay:
    """Passes on what it is given."""

    def __init__(self, taker: DeploymentHandle) -> None:
        self.taker = taker

    async def pass_nested(self, box: Any) -> Any:
        return await self.taker.open_box.remote([content_of(box)])

    async def pass_value(self, box: Any) -> int:
        result: int = await self.taker.add.remote(content_of(box), right=1)
        return result

    async def pass_size(self, box: Any) -> int:
        result: int = await self.taker.size.remote(content_of(box))
        return result


@serve.deployment(max_ongoing_requests=300)
class Front:
    """Chains from inside of a deployment, and gives its handles away."""

    def __init__(self, **handles: DeploymentHandle) -> None:
        self.handles = handles
        self.maker, self.taker = handles["maker"], handles["taker"]

    def all(self) -> dict[str, DeploymentHandle]:
        return self.handles

    async def chain(self, number: int) -> int:
        result: int = await self.taker.add.remote(self.maker.add.remote(number, 1), right=2)
        return result

    def chain_in_thread(self, number: int) -> int:
        first = self.maker.add.remote(number, 1)
        result: int = self.taker.add_in_thread.remote(first, right=2).result(timeout_s=10)
        return result

    async def by_reference(self, number: int) -> Any:
        return await self.taker.open_box.remote([self.maker.add.remote(number, 1)])

    async def chain_fails(self) -> None:
        await self.taker.add.remote(self.maker.fail.remote("inside"))

    async def give_ref(self, number: int) -> Any:
        return {"small": self.maker.add.remote(number, 1)}

    async def give_large(self, size: int) -> Any:
        return Parcel(self.maker.block.remote(size))

    async def give_late(self, tag: str) -> Any:
        return [self.maker.late.remote(tag, tag)]

    async def give_response(self, number: int) -> Any:
        return self.maker.add.remote(number, 1)

    async def give_failed(self) -> Any:
        return [self.maker.fail.remote("given")]


def make() -> Any:
    taker = Taker.bind()
    return Front.bind(
        maker=Maker.bind(), taker=taker, narrow=Narrow.bind(), relay=Relay.bind(taker)
    )


app = make()
