"""A deployment of each kind, and methods of each kind."""

import asyncio
import threading
from typing import Any

import numpy as np

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


class Inherited:
    def inherited(self) -> str:
        return type(self).__name__


@serve.deployment(max_ongoing_requests=100)
class Worker(Inherited):
    def __init__(self, base: int, *, offset: int = 0) -> None:
        self.base = base + offset
        self.calls = 0
        self.gate = asyncio.Event()

    def __call__(self, number: int) -> int:
        return number + self.base

    def add(self, left: int, right: int = 0) -> int:
        self.calls += 1
        return left + right

    async def add_async(self, left: int, *, right: int = 0) -> int:
        return left + right

    @staticmethod
    def static(number: int) -> int:
        return -number

    @classmethod
    def named(cls) -> str:
        return cls.__name__

    def _private(self) -> str:
        return "private"

    async def echo(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if args else kwargs

    def describe(self, /, *args: Any, **kwargs: Any) -> str:
        return f"{args} {sorted(kwargs.items())}"

    def append(self, items: list[int]) -> list[int]:
        items.append(4)
        return items

    def ones(self, size: int) -> Any:
        return np.ones(size, dtype="u1")

    def total(self, array: Any) -> int:
        return int(array.sum())

    def call(self, function: Any, *args: Any) -> Any:
        return function(*args)

    def unpicklable(self) -> Any:
        return threading.Lock()

    async def fail(self, message: str) -> None:
        raise ValueError(message)

    async def wait(self) -> str:
        await self.gate.wait()
        return "waited"

    async def open_gate(self) -> None:
        self.gate.set()
        self.gate = asyncio.Event()

    def count_calls(self) -> int:
        return self.calls

    def thread_name(self) -> str:
        return threading.current_thread().name


@serve.deployment
class AsyncInit:
    async def __init__(self, name: str) -> None:
        await asyncio.sleep(0)
        self.name = name

    def greet(self) -> str:
        return f"Hola {self.name}"


@serve.deployment
def double(number: int) -> int:
    return number * 2


@serve.deployment
async def triple(number: int) -> int:
    await asyncio.sleep(0)
    return number * 3


@serve.deployment
class Front:
    """Gives its handles away, so that a test can use them."""

    def __init__(self, **handles: DeploymentHandle) -> None:
        self.handles = handles

    def all(self) -> dict[str, DeploymentHandle]:
        return self.handles

    async def pass_on(self, handle: DeploymentHandle, *args: Any) -> Any:
        return await handle.remote(*args)

    def pass_on_blocking(self, handle: DeploymentHandle, *args: Any) -> Any:
        return handle.remote(*args).result(timeout_s=10)

    async def result_in_loop(self) -> Any:
        return self.handles["double"].remote(1).result()

    async def through_get_handle(self, name: str, number: int) -> int:
        return int(await serve.get_deployment_handle(name).remote(number))

    async def through_app_handle(self) -> str:
        handle = serve.get_app_handle(serve.get_replica_context().app_name)
        return str(await handle.name.remote())

    def name(self) -> str:
        return serve.get_replica_context().deployment

    def in_own_thread(self, number: int) -> list[int]:
        """Calls from a thread that meshgen knows nothing of, and from a loop of its own in one."""
        found: list[int] = []

        async def in_loop() -> None:
            found.append(await self.handles["triple"].remote(number))

        def work() -> None:
            found.append(self.handles["double"].remote(number).result(timeout_s=10))
            asyncio.run(in_loop())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found


app = Front.bind(
    worker=Worker.bind(10, offset=1),
    async_init=AsyncInit.bind("Dora"),
    double=double.bind(),
    triple=triple.bind(),
)
