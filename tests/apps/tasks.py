"""Tasks and actors, and deployments that use them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Iterator
from typing import Any

import meshgen
from meshgen import serve
from meshgen.objectref import ObjectRef
from meshgen.serve.handle import DeploymentHandle

LIMIT = 100_000


class OutOfStock(Exception):
    def __init__(self, item: str) -> None:
        super().__init__(item)
        self.item = item


@meshgen.remote
def double(number: int) -> int:
    return 2 * number


@meshgen.remote
async def double_async(number: int) -> int:
    return 2 * number


@meshgen.remote(num_cpus=0.5)
def fibonacci(n: int) -> int:
    if n < 2:
        return n
    total: int = sum(meshgen.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))
    return total


@meshgen.remote
def kind_of(*values: Any, **named: Any) -> list[str]:
    return [type(value).__name__ for value in [*values, *named.values()]]


@meshgen.remote
def opened(box: list[ObjectRef[Any]]) -> list[Any]:
    return list(meshgen.get(box))


@meshgen.remote
def block(size: int) -> bytes:
    return b"x" * size


@meshgen.remote
def size_of(data: bytes) -> int:
    return len(data)


@meshgen.remote
def fail(item: str) -> None:
    raise OutOfStock(item)


@meshgen.remote(num_returns=2)
def halves(items: list[Any]) -> tuple[list[Any], list[Any]]:
    middle = len(items) // 2
    return items[:middle], items[middle:]


@meshgen.remote
def generator(items: list[Any]) -> Iterator[Any]:
    return iter(items) if not items else (item for item in items)


@meshgen.remote
def ask_deployment(handle: DeploymentHandle, number: int) -> int:
    answer: int = handle.plain.remote(number).result()
    return answer


@meshgen.remote
def apply(function: Any, number: int) -> int:
    answer: int = meshgen.get(function.remote(number))
    return answer


@meshgen.remote
def use_counter(counter: Any, by: int) -> int:
    total: int = meshgen.get(counter.add.remote(by))
    return total


@meshgen.remote
class Counter:
    """All of its methods are plain: they run one at a time."""

    def __init__(self, start: int = 0) -> None:
        self.total = start
        self.log: list[int] = []
        self.gate = threading.Event()
        self.inside = 0
        self.most_inside = 0

    def add(self, by: int = 1) -> int:
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        self.total += by
        self.log.append(by)
        self.inside -= 1
        return self.total

    def take(self, data: bytes) -> int:
        self.log.append(len(data))
        return len(data)

    def history(self) -> list[int]:
        return self.log

    def crowd(self) -> int:
        return self.most_inside

    def fail(self, item: str) -> None:
        raise OutOfStock(item)

    def call(self, word: str = "called") -> str:
        return word

    def pair(self) -> tuple[int, int]:
        return self.total, len(self.log)

    def yields(self) -> Iterator[int]:
        yield 1

    def box(self, refs: list[ObjectRef[Any]]) -> list[Any]:
        return list(meshgen.get(refs))

    def exit(self) -> None:
        os._exit(1)


@meshgen.remote(max_concurrency=2)
class Odd:
    """Does what few classes do."""

    async def __init__(self, words: list[str]) -> None:
        await asyncio.sleep(0)
        self.words = words

    def __getattr__(self, name: str) -> Any:
        if name.startswith("say_"):
            return lambda: name.removeprefix("say_")
        if name == "number":
            return 3
        raise AttributeError(name)

    async def __call__(self) -> list[str]:
        return self.words

    def later(self) -> Awaitable[list[str]]:
        return self()

    def stop(self) -> None:
        raise StopIteration("enough")

    def leave(self) -> None:
        raise SystemExit(3)


@meshgen.remote
class Unmakable:
    def __init__(self, item: str) -> None:
        raise OutOfStock(item)

    def ping(self) -> str:
        return "pong"


@meshgen.remote
class Gates:
    """Has async methods: they run at the same time."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: dict[str, asyncio.Event] = {}
        self.began: list[str] = []

    def _event(self, name: str) -> asyncio.Event:
        return self.events.setdefault(name, asyncio.Event())

    async def pass_through(self, name: str) -> str:
        self._event(f"{name} began").set()
        self.began.append(name)
        try:
            await self._event(name).wait()
        except asyncio.CancelledError:
            self._event(f"{name} cancelled").set()
            raise
        return f"passed {name}"

    async def relay(self, gates: Any, name: str) -> str:
        word: str = await gates.pass_through.remote(name)
        return word

    async def open(self, name: str) -> None:
        self._event(name).set()

    async def until(self, name: str) -> str:
        await self._event(name).wait()
        return name

    async def names(self) -> list[str]:
        return self.began

    def plain(self) -> bool:
        return threading.current_thread() is not threading.main_thread()

    def block_until_told(self, gate: Any, name: str) -> str:
        word: str = meshgen.get(gate.until.remote(name))
        return word


@meshgen.remote
def wait_at(gates: Any, name: str) -> str:
    """In a thread of the task service until the gate opens."""
    word: str = meshgen.get(gates.pass_through.remote(name))
    return word


@meshgen.remote
async def wait_at_async(gates: Any, name: str) -> str:
    word: str = await gates.pass_through.remote(name)
    return word


@serve.deployment(max_ongoing_requests=100)
class Shop:
    """Uses tasks and an actor of its own."""

    def __init__(self) -> None:
        self.counter = Counter.remote(100)

    async def __call__(self, number: int) -> int:
        chained: Awaitable[int] = double.remote(double_async.remote(number))
        return await chained

    async def count(self, by: int) -> int:
        total: int = await self.counter.add.remote(double.remote(by))
        return total

    async def its_counter(self) -> Any:
        return self.counter

    async def plain(self, number: int) -> int:
        return number

    async def block(self, size: int) -> bytes:
        return b"y" * size

    async def object_reference(self, number: int) -> int:
        """As the last example of Ray Serve's guide to model composition."""
        ref = await serve.get_deployment_handle("Shop").plain.remote(number)._to_object_ref()
        doubled: int = await double.remote(ref)
        return doubled

    async def double(self, number: int) -> int:
        doubled: int = await double.remote(number)
        return doubled

    async def name_an_actor(self, name: str) -> int:
        made = Counter.options(name=name, get_if_exists=True).remote(1)
        await made.add.remote(1)
        total: int = await meshgen.get_actor(name).add.remote(1)
        return total

    async def get_unknown(self, name: str) -> None:
        await meshgen.get_actor(name).add.remote(1)


app = Shop.bind()
