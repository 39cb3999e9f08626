"""Calls of handles from any thread, responses as arguments, and what happens at the end."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meshgen.errors import (
    DeadlineError,
    NoSuchApplicationError,
    NotServingError,
    ReplicaLostError,
    RequestCancelledError,
    SerializationError,
)
from meshgen.runtime.bulk import INLINE_LIMIT
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import MemoryNetwork
from meshgen.serve.handle import DeploymentHandle
from meshgen.spec import AppSpec, MeshSpec
from meshgen.specfiles import write_mesh
from meshgen.types import DeploymentID
from tests.runtime.replicas import Mesh, run_here, settle, spec_of, until


class _Adder:
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.go_on = asyncio.Event()

    async def add(self, x: Any, y: Any = 0) -> Any:
        self.calls.append((x, y))
        return x + y

    async def later(self, x: Any) -> Any:
        await self.go_on.wait()
        return x

    async def fail(self) -> None:
        raise KeyError("upstream")

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number


async def test_threads_call_while_the_loop_goes_on() -> None:
    """Each gets its own results."""
    async with run_here(_Adder, max_ongoing_requests=100) as mesh:
        handle = mesh.handle

        def work(n: int) -> list[Any]:
            return [handle.add.remote(n, i).result(timeout_s=20) for i in range(50)]

        with ThreadPoolExecutor(4) as pool:
            loop = asyncio.get_running_loop()
            found = await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(4)))
        assert found == [[n + i for i in range(50)] for n in range(4)]


def test_a_response_that_goes_while_the_loop_stands_still_lets_go_of_its_value() -> None:
    """Between two runs of the loop its thread is free to drop things, too."""

    async def value_left_there(mesh: Mesh) -> Any:
        response = mesh.handle.add.remote(bytes(INLINE_LIMIT), b"")
        await until(lambda: len(mesh.replicas[0].values) == 1 and response.settled)
        return response

    with asyncio.Runner() as runner:
        context = run_here(_Adder)
        mesh = runner.run(context.__aenter__())
        response = runner.run(value_left_there(mesh))
        del response
        runner.run(until(lambda: len(mesh.replicas[0].values) == 0))
        runner.run(context.__aexit__(None, None, None))


async def test_another_loop_may_await() -> None:
    """Responses and streams belong to no loop."""
    async with run_here(_Adder) as mesh:

        async def elsewhere() -> tuple[Any, list[Any]]:
            value = await mesh.handle.add.remote(1, 2)
            return value, [item async for item in mesh.stream.count.remote(3)]

        assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == (3, [0, 1, 2])


async def test_the_order_of_one_threads_calls_is_kept() -> None:
    """As they were made, so they arrive."""
    async with run_here(_Adder, max_ongoing_requests=1000) as mesh:
        await asyncio.to_thread(lambda: [mesh.handle.add.remote(n) for n in range(200)])
        target: Any = mesh.replicas[0].context.servable_object
        await until(lambda: len(target.calls) == 200)
        assert [x for x, _ in target.calls] == list(range(200))


async def test_an_argument_that_cannot_be_pickled_is_refused_at_once() -> None:
    """At `.remote()`, on whichever thread; nothing was sent."""
    async with run_here(_Adder) as mesh:
        with pytest.raises(SerializationError, match=r"argument 1 \(lock\)"):
            mesh.handle.add.remote(threading.Lock())
        with pytest.raises(SerializationError, match=r"argument 1 \(lock\)"):
            mesh.stream.count.remote(threading.Lock())


async def test_arguments_are_of_the_moment_of_the_call() -> None:
    """What the caller does to them afterwards is not seen."""
    async with run_here(_Adder) as mesh:
        mine = [1]
        response = mesh.handle.add.remote(mine, [2])
        mine.append(7)
        assert await response == [1, 2]


async def test_responses_among_the_arguments_become_their_values() -> None:
    """By position and by keyword, waited for all at once."""
    async with run_here(_Adder, max_ongoing_requests=10) as mesh:
        first, second = mesh.handle.later.remote(1), mesh.handle.later.remote(2)
        together = mesh.handle.add.remote(first, y=second)
        await settle()
        mesh.replicas[0].context.servable_object.go_on.set()
        assert await together == 3
        assert await mesh.handle.add.remote(first, together) == 4


async def test_a_failed_argument_fails_the_call() -> None:
    """With that very error; the method is not called."""
    async with run_here(_Adder) as mesh:
        with pytest.raises(KeyError, match="upstream"):
            await mesh.handle.add.remote(mesh.handle.fail.remote())
        assert mesh.replicas[0].context.servable_object.calls == []


async def test_a_value_that_is_passed_on_is_not_pickled_again() -> None:
    """It goes on as it came, whether or not the one who passes it has unpickled it."""

    class Passing(_Adder):
        async def make(self) -> Any:
            return _Once(1)

        async def left(self, value: _Once) -> int:
            return value.left

    async with run_here(Passing) as mesh:
        made = mesh.handle.make.remote()
        assert await mesh.handle.left.remote(made) == 0
        assert (await made).left == 0
        assert await mesh.handle.left.remote(made) == 0


class _Once:
    """Travels once."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __reduce__(self) -> Any:
        if not self.left:
            raise TypeError("not again")
        return _Once, (self.left - 1,)


async def test_a_cancelled_argument_is_a_cancelled_call() -> None:
    """And cancelling one call leaves its argument to others."""
    async with run_here(_Adder) as mesh:
        argument = mesh.handle.later.remote(1)
        cancelled, kept = mesh.handle.add.remote(argument), mesh.handle.add.remote(argument)
        await settle()
        cancelled.cancel()
        with pytest.raises(RequestCancelledError):
            await cancelled
        assert not argument.done
        mesh.replicas[0].context.servable_object.go_on.set()
        assert await kept == 1
        other = mesh.handle.later.remote(2)
        late = mesh.handle.add.remote(other)
        other.cancel()
        with pytest.raises(RequestCancelledError):
            await late


async def test_a_deadline_counts_while_arguments_are_waited_for() -> None:
    """It is the caller's time, whoever takes it."""
    async with run_here(_Adder, graceful_shutdown_timeout_s=0.05) as mesh:
        argument = mesh.handle.later.remote(1)
        with pytest.raises(DeadlineError):
            await mesh.handle.options(timeout_s=0.02).add.remote(argument)
        assert not argument.done


async def test_closing_fails_what_waits_for_arguments() -> None:
    """As a mesh that is gone, not as if the awaiting task were cancelled."""
    async with run_here(_Adder, max_ongoing_requests=1) as mesh:
        running = mesh.handle.later.remote(1)
        await settle()
        waiting = mesh.handle.add.remote(mesh.handle.later.remote(2))
        await settle()
        await mesh.caller.__aexit__()
        with pytest.raises(NotServingError, match="default/_Adder belongs to was shut down"):
            await waiting
        with pytest.raises(ReplicaLostError):
            await running


async def test_each_set_of_methods_has_connections_of_its_own() -> None:
    """Those say which methods are known: after a redeploy, old and new handles both go on."""
    async with run_here(_Adder) as mesh:
        old = replace(mesh.stub, methods={"add": mesh.stub.methods["add"]})
        for stub in (mesh.stub, old, pickle.loads(pickle.dumps(old))):
            handle = DeploymentHandle(stub, caller=mesh.caller)
            assert await handle.add.remote(1, 2) == 3
        assert len(vars(mesh.caller)["_routers"]) == 2


async def test_calls_after_closing_fail() -> None:
    """On the loop as on other threads."""
    async with run_here(_Adder) as mesh:
        await mesh.caller.__aexit__()
        with pytest.raises(NotServingError):
            await mesh.handle.add.remote(1)
        stream = mesh.stream.count.remote(1)
        with pytest.raises(NotServingError):
            await anext(stream)


async def test_deployments_are_found_by_name(tmp_path: Path) -> None:
    """In the mesh's file, as it is then."""
    stub = spec_of(_Adder).stub
    write_mesh(
        MeshSpec(
            apps={
                "default": AppSpec(
                    name="default", ingress="_Adder", route_prefix=None, stubs={"_Adder": stub}
                )
            }
        ),
        tmp_path / "mesh.json",
    )
    async with MeshCaller(MeshFile(tmp_path / "mesh.json"), MemoryNetwork()) as caller:
        assert caller.find(DeploymentID("default", "_Adder")) == stub
        assert caller.ingress_of("default") == stub
        assert set(caller.mesh().apps) == {"default"}
        for missing in (DeploymentID("default", "Other"), DeploymentID("other", "_Adder")):
            with pytest.raises(NoSuchApplicationError):
                caller.find(missing)


async def test_a_caller_leaves_nothing_behind() -> None:
    """No task outlives it."""
    async with run_here(_Adder, graceful_shutdown_timeout_s=0.05) as mesh:
        waiting = mesh.handle.add.remote(mesh.handle.later.remote(1))
        items = mesh.stream.count.remote(5000)
        await anext(items)
    await settle()
    assert waiting.done
    assert asyncio.all_tasks() == {asyncio.current_task()}
