"""What a mesh and a real Ray do together: each scenario once in each mode, a line for its outcome.

Run by tests/test_raybridge.py as a program, for what Ray leaves in a process and starts beside it.
"""

import asyncio
import os
import sys
import tempfile
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from meshgen import serve
from meshgen.errors import DeadlineError, MeshError, NotServingError, ObjectLostError
from meshgen.objectref import ObjectRef
from meshgen.raybridge import _bridge, session
from meshgen.serve.handle import DeploymentHandle, DeploymentResponse
from meshgen.testing import MODES, run_app

# All that Ray leaves on the disk goes with the program.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "HOME": tempfile.gettempdir()}

import ray  # it reads its settings when it is imported

LARGE = 2_000_000


class Unwell(Exception):
    def __init__(self, reason: str, degrees: int) -> None:
        super().__init__(reason, degrees)
        self.degrees = degrees


class Lock:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise TypeError("this lock stays here")


class NotTwice(Exception):
    """Can be pickled, but not unpickled."""

    def __init__(self, left: int, right: int) -> None:
        super().__init__("one argument only")


@serve.deployment(max_ongoing_requests=2000, graceful_shutdown_timeout_s=0.1)
class Maker:
    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def double(self, number: Any) -> Any:
        return 2 * number

    async def late(self, value: Any) -> Any:
        await self.gate.wait()
        return value

    async def open(self) -> None:
        self.gate.set()
        self.gate = asyncio.Event()

    async def zeros(self, size: int) -> Any:
        return np.zeros(size, dtype=np.uint8)

    async def fall_ill(self) -> None:
        raise Unwell("flu", 39)

    async def open_box(self, box: list[Any]) -> Any:
        return type(box[0]).__module__, await box[0]

    async def length(self, value: Any) -> int:
        return len(value)

    async def count(self, number: int) -> Any:
        for each in range(number):
            yield each

    async def forever(self) -> None:
        await asyncio.Event().wait()


@serve.deployment
class Front:
    """Composes deployments with tasks of Ray's, where its process is connected to Ray."""

    def __init__(self, maker: DeploymentHandle) -> None:
        self.maker = maker

    async def makers(self) -> DeploymentHandle:
        return self.maker

    async def through_ray(self, number: int) -> tuple[int, int]:
        ref: Any = await self.maker.double.remote(number)._to_object_ref()
        assert isinstance(ref, ray.ObjectRef), ref
        return await add_one.remote(ref), await self.maker.double.remote(add_one.remote(number))

    async def gives(self, number: int) -> Any:
        return {"nested": add_one.remote(number)}


app = Front.bind(Maker.bind())


@ray.remote
def add_one(number: Any) -> Any:
    return number + 1


@ray.remote
def add_one_later(number: Any, gate: Any) -> Any:
    ray.get(gate.passed.remote())
    return number + 1


@ray.remote
def look_inside(box: list[Any]) -> Any:
    return ray.get(box[0])


@ray.remote
def fail_in_ray(reason: str) -> None:
    raise Unwell(reason, 40)


@ray.remote
def raise_what_cannot_travel() -> None:
    raise NotTwice(1, 2)


@ray.remote(num_cpus=0)
class Gate:
    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def passed(self) -> None:
        await self.event.wait()

    async def open(self) -> None:
        self.event.set()

    async def is_ready(self) -> None:
        """Its process runs."""


async def closed_gate() -> Any:
    """Ray does not like a task to be cancelled, or an actor dropped, while the actor begins."""
    gate = Gate.remote()
    await gate.is_ready.remote()
    return gate


@ray.remote(num_cpus=0)
class Sum:
    def __init__(self) -> None:
        self.total = 0

    def add(self, number: int) -> int:
        self.total += number
        return self.total


async def raised(awaitable: Awaitable[Any]) -> BaseException:
    """What it raises."""
    try:
        value = await awaitable
    except BaseException as exc:
        return exc
    raise AssertionError(f"no error but {value!r}")


Scenario = Callable[[DeploymentHandle], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


# ---- from the mesh to Ray


@scenario
async def a_response_is_a_true_reference_of_ray(maker: DeploymentHandle) -> None:
    ref = await maker.double.remote(4)._to_object_ref()
    assert type(ref) is ray.ObjectRef
    assert await ref == 8


@scenario
async def a_ray_task_takes_it_before_it_is_ready(maker: DeploymentHandle) -> None:
    late = maker.late.remote(4)
    ref = await late._to_object_ref()
    sums = add_one.remote(ref)
    assert not late.done
    assert ray.wait([ref], timeout=0)[0] == []
    await maker.open.remote()
    assert await sums == 5


@scenario
async def a_ray_task_takes_it_inside_of_something(maker: DeploymentHandle) -> None:
    assert await look_inside.remote([await maker.double.remote(4)._to_object_ref()]) == 8


@scenario
async def a_ray_actor_takes_it(maker: DeploymentHandle) -> None:
    total = Sum.remote()
    for number in (1, 2):
        ref = total.add.remote(await maker.double.remote(number)._to_object_ref())
    assert await ref == 6


@scenario
async def one_that_has_ended_works_too(maker: DeploymentHandle) -> None:
    response = maker.double.remote(4)
    await response
    assert await add_one.remote(await response._to_object_ref()) == 9


@scenario
async def a_large_value_arrives(maker: DeploymentHandle) -> None:
    response = maker.zeros.remote(LARGE)
    zeros = await (await response._to_object_ref())
    assert zeros.nbytes == LARGE
    assert (await response).nbytes == LARGE
    assert (await (await response._to_object_ref())).nbytes == LARGE


@scenario
async def a_thread_without_a_loop_gets_it_at_once(maker: DeploymentHandle) -> None:
    def work(response: DeploymentResponse) -> Any:
        return ray.get(add_one.remote(response._to_object_ref_sync()))

    assert await asyncio.to_thread(work, maker.double.remote(4)) == 9


@scenario
async def a_failed_call_fails_the_reference_with_the_same_error(maker: DeploymentHandle) -> None:
    error = await raised(await maker.fall_ill.remote()._to_object_ref())
    assert isinstance(error, Unwell) and isinstance(error, ray.exceptions.RayTaskError)
    assert error.degrees == 39
    assert "in fall_ill" in str(error)


@scenario
async def the_reference_of_a_call_that_has_failed_fails(maker: DeploymentHandle) -> None:
    response = maker.fall_ill.remote()
    assert isinstance(await raised(response), Unwell)
    assert isinstance(await raised(await response._to_object_ref()), Unwell)


@scenario
async def a_task_that_takes_a_failed_one_does_not_run(maker: DeploymentHandle) -> None:
    ref = add_one.remote(await maker.fall_ill.remote()._to_object_ref())
    assert isinstance(await raised(ref), Unwell)


@scenario
async def a_cancelled_call_fails_the_reference(maker: DeploymentHandle) -> None:
    response = maker.forever.remote()
    ref = await response._to_object_ref()
    response.cancel()
    assert "RequestCancelledError" in str(await raised(ref))


@scenario
async def a_reference_that_ray_cancels_is_forgotten(maker: DeploymentHandle) -> None:
    response = maker.late.remote(4)
    ref = await response._to_object_ref()
    while not await bridge_count():  # Ray begins it when it likes
        pass
    ray.cancel(ref)
    assert isinstance(await raised(ref), ray.exceptions.TaskCancelledError)
    await maker.open.remote()
    assert await response == 4


@scenario
async def many_wait_at_the_same_time(maker: DeploymentHandle) -> None:
    refs = [await maker.late.remote(each)._to_object_ref() for each in range(1100)]
    await maker.open.remote()
    assert await asyncio.gather(*refs) == list(range(1100))


@scenario
async def the_items_of_a_stream_are_references_too(maker: DeploymentHandle) -> None:
    response = maker.options(stream=True).count.remote(3)
    refs = [ref async for ref in await response._to_object_ref_gen()]
    assert all(type(ref) is ray.ObjectRef for ref in refs)
    assert [await add_one.remote(ref) for ref in refs] == [1, 2, 3]


# ---- from Ray to the mesh


@scenario
async def a_value_that_ray_keeps_is_an_argument(maker: DeploymentHandle) -> None:
    assert await maker.double.remote(ray.put(4)) == 8
    assert await maker.double.remote(number=ray.put(4)) == 8


@scenario
async def a_task_that_runs_is_an_argument(maker: DeploymentHandle) -> None:
    gate = await closed_gate()
    later = add_one_later.remote(4, gate)
    responses = maker.double.remote(later), maker.double.remote(number=later)
    assert await maker.double.remote(1) == 2
    assert not any(response.done for response in responses)
    await gate.open.remote()
    assert [await response for response in responses] == [10, 10]


@scenario
async def a_call_from_a_thread_takes_one_too(maker: DeploymentHandle) -> None:
    def work() -> Any:
        return maker.double.remote(add_one.remote(4)).result()

    assert await asyncio.to_thread(work) == 10


@scenario
async def a_large_value_is_an_argument(maker: DeploymentHandle) -> None:
    ref = ray.put(np.zeros(LARGE, dtype=np.uint8))
    assert await maker.length.remote(ref) == LARGE
    assert await maker.double.remote(await maker.double.remote(2)._to_object_ref()) == 8


@scenario
async def inside_of_something_it_arrives_as_a_reference_of_the_mesh(
    maker: DeploymentHandle,
) -> None:
    assert await maker.open_box.remote([add_one.remote(4)]) == ("meshgen.objectref", 5)
    large = ray.put(np.zeros(LARGE, dtype=np.uint8))
    where, zeros = await maker.open_box.remote([large])
    assert where == "meshgen.objectref" and zeros.nbytes == LARGE


@scenario
async def a_streaming_call_takes_one(maker: DeploymentHandle) -> None:
    items = maker.options(stream=True).count.remote(add_one.remote(2))
    assert [item async for item in items] == [0, 1, 2]


@scenario
async def what_the_task_raises_is_the_call_s_error(maker: DeploymentHandle) -> None:
    error = await raised(maker.double.remote(fail_in_ray.remote("cold")))
    assert type(error).__name__ == "Unwell" and error.args == ("cold", 40), repr(error)
    assert "fail_in_ray" in str(error.__cause__)
    chained = maker.double.remote(add_one.remote(fail_in_ray.remote("cold")))
    assert type(await raised(chained)).__name__ == "Unwell"


@scenario
async def an_error_that_cannot_travel_is_told_of(maker: DeploymentHandle) -> None:
    error = await raised(maker.double.remote(raise_what_cannot_travel.remote()))
    assert "NotTwice" in str(error), repr(error)


@scenario
async def a_task_that_was_cancelled_is_a_lost_value(maker: DeploymentHandle) -> None:
    gate = await closed_gate()
    later = add_one_later.remote(4, gate)
    response = maker.double.remote(later)
    ray.cancel(later, force=True)
    error = await raised(response)
    assert isinstance(error, ObjectLostError) and "Ray" in str(error), repr(error)


@scenario
async def a_deadline_does_not_wait_for_ray(maker: DeploymentHandle) -> None:
    later = add_one_later.remote(4, gate := await closed_gate())
    response = maker.options(timeout_s=0.1).double.remote(later)
    assert isinstance(await raised(response), DeadlineError)
    await gate.open.remote()


@scenario
async def ray_itself_still_passes_its_references(maker: DeploymentHandle) -> None:
    assert await maker.double.remote(ray.put(1)) == 2
    assert await look_inside.remote([ray.put(3)]) == 3


async def bridge_count() -> int:
    current = session()
    assert current is not None
    return await _bridge(current).actor.count.remote()


async def in_this_mesh(handle: DeploymentHandle, mode: str) -> None:
    maker = (await handle.makers.remote()).options(timeout_s=60)
    for name, run in SCENARIOS.items():
        await tell(f"{mode} {name}", run(maker))
    if mode != "processes":
        await tell(f"{mode} a_deployment_uses_both", uses_both(handle))
    await tell(f"{mode} nothing_is_left", nothing_is_left())


async def uses_both(handle: DeploymentHandle) -> None:
    assert await handle.through_ray.remote(4) == (9, 10)
    assert await (await handle.gives.remote(4))["nested"] == 5


async def nothing_is_left() -> None:
    assert await bridge_count() == 0


async def tell(name: str, work: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(60):
            await work
    except BaseException:
        print(f"{name}: failed", flush=True)
        traceback.print_exc()
    else:
        print(f"{name}: ok", flush=True)


async def a_mesh_that_goes(handle: DeploymentHandle) -> tuple[Any, Any, Any]:
    maker = await handle.makers.remote()
    forever = await maker.forever.remote()._to_object_ref()
    gate = await closed_gate()
    waits = maker.double.remote(add_one_later.remote(1, gate))
    return forever, waits, gate


async def both_ends_were_told(forever: Any, waits: Any, gate: Any) -> None:
    assert isinstance(error := await raised(forever), MeshError), repr(error)
    assert isinstance(error := await raised(waits), NotServingError), repr(error)
    await gate.open.remote()


async def ray_goes(handle: DeploymentHandle) -> None:
    maker = await handle.makers.remote()
    late = maker.late.remote(4)
    await late._to_object_ref()
    gate = await closed_gate()
    waits = maker.double.remote(add_one_later.remote(1, gate))
    await maker.double.remote(1)
    ray.shutdown()
    error = await raised(waits)
    assert isinstance(error, ObjectLostError) and "shut down" in str(error), repr(error)
    await maker.open.remote()
    assert await late == 4
    # What waited for the response did not start another Ray.
    assert not ray.is_initialized()
    assert type(await maker.double.remote(1)._to_object_ref()) is ObjectRef


async def ray_comes_back(handle: DeploymentHandle) -> None:
    maker = await handle.makers.remote()
    assert await add_one.remote(await maker.double.remote(4)._to_object_ref()) == 9
    assert await maker.double.remote(ray.put(4)) == 8


async def before_ray_is_there(handle: DeploymentHandle) -> None:
    maker = await handle.makers.remote()
    ref = await maker.double.remote(4)._to_object_ref()
    assert type(ref) is ObjectRef and await maker.double.remote(ref) == 16


async def main() -> None:
    async with run_app(app) as handle:
        await tell("without_ray", before_ray_is_there(handle))
    start_ray()
    for mode in sys.argv[1:] or MODES:
        async with run_app(app, mode=mode) as handle:
            await in_this_mesh(handle, mode)
            left = await a_mesh_that_goes(handle)
        await tell(
            f"{mode} a_mesh_that_is_shut_down_leaves_nobody_waiting", both_ends_were_told(*left)
        )
    async with run_app(app) as handle:
        await tell("ray_is_shut_down", ray_goes(handle))
        start_ray()
        await tell("ray_is_started_again", ray_comes_back(handle))
    ray.shutdown()


def start_ray() -> None:
    """Ray gives its own processes half a minute: on a busy machine that may take another try."""
    for left in (2, 1, 0):
        try:
            ray.init(
                num_cpus=2,
                include_dashboard=False,
                object_store_memory=100_000_000,
                log_to_driver=False,
                logging_level="ERROR",
                _node_ip_address="127.0.0.1",
                _temp_dir=tempfile.gettempdir(),
            )
            return
        except Exception:
            ray.shutdown()
            if not left:
                raise


if __name__ == "__main__":
    asyncio.run(main())
