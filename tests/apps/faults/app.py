"""Producers and consumers whose every answer can be checked, a board that holds calls back and
counts them, and a front that calls the others and says what came of it."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from meshgen import serve
from meshgen.errors import MeshError, RemoteTraceback
from meshgen.serve.handle import DeploymentHandle
from meshgen.types import new_id

ITEMS = 6
# A call that has no outcome after so many seconds hangs.
HANG = 20.0


def made(number: int) -> int:
    return number * 7 + 3


def taken(value: int) -> int:
    return value * 2 + 1


def me() -> str:
    replica: str = serve.get_replica_context().replica_id
    return replica


@serve.deployment(max_ongoing_requests=10_000)
class Board:
    """Knows which calls run where, and lets them go on once their gate is open."""

    def __init__(self) -> None:
        self.runs: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
        self.left: dict[str, int] = defaultdict(int)
        self.gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.changed = asyncio.Condition()

    @serve.method(idempotent=True)
    async def enter(self, gate: str, run: str, key: str, replica: str) -> None:
        self.runs[gate][run] = (key, replica)
        await self._tell()
        try:
            await self.gates[gate].wait()
        except asyncio.CancelledError:
            self.left[gate] += 1
            await self._tell()
            raise

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def until_entered(self, gate: str, count: int) -> dict[str, list[str]]:
        """Which calls each replica holds, once there are so many."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.runs[gate]) >= count)
        held = defaultdict(list)
        for key, replica in self.runs[gate].values():
            held[replica].append(key)
        return dict(held)

    async def until_left(self, gate: str, count: int) -> None:
        """Return once so many calls were cancelled where they waited."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.left[gate] >= count)

    async def open(self, gate: str) -> None:
        self.gates[gate].set()

    async def count_runs(self, gate: str) -> dict[str, int]:
        """How often each call ran."""
        counts: dict[str, int] = defaultdict(int)
        for key, _ in self.runs[gate].values():
            counts[key] += 1
        return dict(counts)


class _Worker:
    def __init__(self, board: DeploymentHandle) -> None:
        self.board = board
        self.life = new_id()

    @serve.method(idempotent=True)
    async def who(self) -> dict[str, Any]:
        return {"replica": me(), "pid": os.getpid(), "life": self.life}

    async def block(self, seconds: float) -> str:
        """Keep the whole loop from running, as code that waits without `await` does."""
        time.sleep(seconds)  # noqa: ASYNC251 - this is what it is for
        return me()

    async def _pass(self, gate: str, key: str) -> None:
        if gate:
            await self.board.enter.remote(gate, new_id(), key, me())


@serve.deployment(num_replicas=3, max_ongoing_requests=1000, graceful_shutdown_wait_loop_s=0.1)
class Producer(_Worker):
    @serve.method(idempotent=True)
    async def make(self, number: int, gate: str) -> int:
        await self._pass(gate, f"make {number}")
        return made(number)

    async def make_once(self, number: int, gate: str) -> int:
        await self._pass(gate, f"make_once {number}")
        return made(number)

    async def items(self, number: int, gate: str) -> AsyncIterator[int]:
        """Half of them, and the rest when the gate is open."""
        for at in range(ITEMS):
            if at == ITEMS // 2:
                await self._pass(gate, f"items {number}")
            yield made(number + at)


@serve.deployment(num_replicas=3, max_ongoing_requests=1000, graceful_shutdown_wait_loop_s=0.1)
class Consumer(_Worker):
    @serve.method(idempotent=True)
    async def take(self, value: int, number: int, gate: str) -> int:
        await self._pass(gate, f"take {number}")
        return taken(value)

    async def take_once(self, value: int, number: int, gate: str) -> int:
        await self._pass(gate, f"take_once {number}")
        return taken(value)


@serve.deployment(max_ongoing_requests=1000)
class Front:
    """Calls the others; over HTTP by `{"do": METHOD, "with": ARGUMENTS}`."""

    def __init__(
        self, board: DeploymentHandle, producer: DeploymentHandle, consumer: DeploymentHandle
    ) -> None:
        self.board, self.producer, self.consumer = board, producer, consumer
        self.attacked = {"producer": producer, "consumer": consumer}

    async def __call__(self, request: Any) -> Any:
        asked = await request.json()
        return {"told": await getattr(self, asked["do"])(*asked["with"])}

    async def pid(self) -> int:
        return os.getpid()

    async def unary(self, gate: str, count: int) -> list[dict[str, Any]]:
        """So many idempotent calls, and as many others."""
        return await self._both(
            count,
            ("make", lambda n: self.producer.make.remote(n, gate), made),
            ("make_once", lambda n: self.producer.make_once.remote(n, gate), made),
        )

    async def producing(self, gate: str, count: int) -> list[dict[str, Any]]:
        """Chained calls; the first one of each chain waits at the gate."""
        return await self._chained(gate, "", count, ("make", "make_once"))

    async def consuming(self, gate: str, count: int) -> list[dict[str, Any]]:
        """Chained calls; the second one of each chain waits at the gate."""
        return await self._chained("", gate, count, ("take", "take_once"))

    async def _chained(
        self, first: str, second: str, count: int, names: tuple[str, str]
    ) -> list[dict[str, Any]]:
        make, take = self.producer, self.consumer
        return await self._both(
            count,
            (names[0], lambda n: take.take.remote(make.make.remote(n, first), n, second), _chain),
            (
                names[1],
                lambda n: take.take_once.remote(make.make_once.remote(n, first), n, second),
                _chain,
            ),
        )

    async def _both(self, count: int, *kinds: Any) -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(
                _outcome(f"{name} {number}", lambda n=number, c=call: c(n), right(number))
                for number in range(count)
                for name, call, right in kinds
            )
        )

    async def streaming(self, gate: str, count: int) -> list[dict[str, Any]]:
        """So many streams, each of which waits at the gate half way."""
        return await asyncio.gather(*(self._stream(number, gate) for number in range(count)))

    async def _stream(self, number: int, gate: str) -> dict[str, Any]:
        seen: list[int] = []

        async def read() -> list[int]:
            async for item in self.producer.options(stream=True).items.remote(number, gate):
                seen.append(item)
            return seen

        right = [made(number + at) for at in range(ITEMS)]
        found = await _outcome(f"items {number}", read, right)
        if seen != right[: len(seen)]:
            found["outcome"] = f"wrong items {seen}"
        return found

    async def idle(self, gate: str, count: int) -> list[dict[str, Any]]:
        """Some of each that nothing holds back; `gate` is none of theirs."""
        ways = (self.unary, self.streaming, self.producing, self.consuming)
        found = await asyncio.gather(*(way("", count // 4 + 1) for way in ways))
        return [outcome for outcomes in found for outcome in outcomes]

    async def until_entered(self, gate: str, count: int) -> Any:
        return await self.board.until_entered.remote(gate, count)

    async def open(self, gate: str) -> None:
        await self.board.open.remote(gate)

    async def count_runs(self, gate: str) -> Any:
        return await self.board.count_runs.remote(gate)

    async def block(self, name: str, seconds: float) -> Any:
        return await self.attacked[name].block.remote(seconds)

    async def who(self, name: str) -> dict[str, dict[str, Any]]:
        """The replicas that answer of some calls at a time, and what they say of themselves."""
        told = await asyncio.gather(*(self.attacked[name].who.remote() for _ in range(20)))
        return {each["replica"]: each for each in told}


def _chain(number: int) -> int:
    return taken(made(number))


async def _outcome(key: str, call: Callable[[], Awaitable[Any]], right: Any) -> dict[str, Any]:
    """What came of a call, and when."""
    try:
        async with asyncio.timeout(HANG):
            found = await call()
        outcome = "right" if found == right else f"wrong {found!r}"
        detail = ""
    except TimeoutError:
        outcome, detail = "hang", ""
    except MeshError as exc:
        # What user code over there has raised is not what the wire says.
        far = isinstance(exc.__cause__, RemoteTraceback)
        outcome, detail = f"{'far ' if far else ''}{type(exc).__name__}", str(exc)
    return {"key": key, "outcome": outcome, "detail": detail, "ended": time.time()}


def build(**options: Any) -> serve.Application:
    """The application, with some options for producers and consumers."""
    board = Board.bind()
    producer, consumer = Producer.options(**options), Consumer.options(**options)
    return Front.bind(board, producer.bind(board), consumer.bind(board))


app = build()
