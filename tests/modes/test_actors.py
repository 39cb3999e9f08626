"""Objects that live in the mesh's task service, in all modes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
import pytest_asyncio

import meshgen
from meshgen.errors import (
    ActorDiedError,
    NoSuchActorError,
    OptionError,
    OptionTypeError,
    RemoteError,
    RequestCancelledError,
    SignatureError,
    UnknownMethodError,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.tasks.actor import ActorHandle
from meshgen.testing import Mode, run_app
from tests.apps import tasks

pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE = 200_000
_names = map("actor {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The deployment of tests/apps/tasks.py, whose module declares actors."""
    async with run_app(tasks.app, mode=mode) as handle:
        yield handle.options(timeout_s=30)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gates(shop: DeploymentHandle) -> Any:
    """An async actor that calls wait at."""
    return tasks.Gates.remote()


@pytest.fixture(autouse=True)
async def no_hang() -> AsyncIterator[None]:
    """Each test ends within seconds."""
    async with asyncio.timeout(30):
        yield


# ---- calls and their order


async def test_an_actor_keeps_its_state(shop: DeploymentHandle) -> None:
    """Each has its own."""
    one, other = tasks.Counter.remote(10), tasks.Counter.remote(start=20)
    assert [await one.add.remote(), await one.add.remote(5)] == [11, 16]
    assert await other.add.remote() == 21


async def test_calls_run_one_after_another_in_order(shop: DeploymentHandle) -> None:
    """Those made before the actor is there, too."""
    counter = tasks.Counter.remote()
    refs = [counter.add.remote(number) for number in range(200)]
    await asyncio.gather(*refs)
    refs += [counter.add.remote(number) for number in range(200, 400)]
    assert await counter.history.remote() == list(range(400))
    assert await counter.crowd.remote() == 1


async def test_values_on_their_way_hold_back_later_calls(
    shop: DeploymentHandle, gates: Any
) -> None:
    """Large arguments, and those that are still being made."""
    name = next(_names)
    counter = tasks.Counter.remote()
    late = gates.pass_through.remote(name)
    refs = [
        counter.add.remote(1),
        counter.take.remote(late),
        counter.add.remote(2),
        counter.take.remote(bytes(LARGE)),
        counter.add.remote(tasks.double.remote(2)),
        counter.take.remote(shop.block.remote(LARGE + 1)),
        counter.add.remote(5),
    ]
    await gates.open.remote(name)
    await asyncio.gather(*refs)
    words = len(f"passed {name}")
    assert await counter.history.remote() == [1, words, 2, LARGE, 4, LARGE + 1, 5]


async def test_references_become_values_and_nested_ones_stay(shop: DeploymentHandle) -> None:
    """As for tasks."""
    counter = tasks.Counter.remote()
    assert await counter.add.remote(by=tasks.double.remote(4)) == 8
    assert await counter.box.remote([tasks.double.remote(1), counter.call.remote()]) == [
        2,
        "called",
    ]


async def test_a_method_may_have_any_name(shop: DeploymentHandle) -> None:
    """Handles have none of their own in its way."""
    assert await tasks.Counter.remote().call.remote(word="up") == "up"


async def test_several_results_are_references_to_each(shop: DeploymentHandle) -> None:
    """As for tasks."""
    total, length = tasks.Counter.remote(7).pair.options(num_returns=2).remote()
    assert (await total, await length) == (7, 0)


# ---- async actors


async def test_async_methods_run_at_the_same_time(shop: DeploymentHandle, gates: Any) -> None:
    """One waits for what the other does."""
    name = next(_names)
    waiting = gates.pass_through.remote(name)
    await gates.open.remote(name)
    assert await waiting == f"passed {name}"


async def test_plain_methods_of_async_actors_do_not_block_the_loop(
    shop: DeploymentHandle, gates: Any
) -> None:
    """They run in a thread."""
    name = next(_names)
    blocked = gates.block_until_told.remote(gates, name)
    await gates.open.remote(name)
    assert await blocked == name
    assert await gates.plain.remote()


async def test_as_many_run_at_a_time_as_was_said(shop: DeploymentHandle, gates: Any) -> None:
    """Others wait for their turn."""
    first, second, third = names = [next(_names) for _ in range(3)]
    narrow = tasks.Gates.options(max_concurrency=2).remote()
    refs = [narrow.relay.remote(gates, name) for name in names]
    await gates.until.remote(f"{first} began")
    await gates.until.remote(f"{second} began")
    assert third not in await gates.names.remote()
    await gates.open.remote(second)
    await gates.until.remote(f"{third} began")
    meshgen.cancel(refs[0])
    await gates.open.remote(third)
    assert await asyncio.gather(*refs[1:]) == [f"passed {second}", f"passed {third}"]


async def test_cancelling_a_call_reaches_its_code(shop: DeploymentHandle, gates: Any) -> None:
    """As a CancelledError."""
    name = next(_names)
    ref = gates.pass_through.remote(name)
    await gates.until.remote(f"{name} began")
    meshgen.cancel(ref)
    with pytest.raises(RequestCancelledError):
        await ref
    assert await gates.until.remote(f"{name} cancelled") == f"{name} cancelled"


async def test_a_cancelled_call_that_waits_never_runs(shop: DeploymentHandle, gates: Any) -> None:
    """Those after it do."""
    name = next(_names)
    counter = tasks.Counter.remote()
    first = counter.take.remote(gates.pass_through.remote(name))
    never, last = counter.add.remote(1), counter.add.remote(2)
    meshgen.cancel(never)
    await gates.open.remote(name)
    assert (await first > 0, await last) == (True, 2)
    with pytest.raises(RequestCancelledError):
        await never
    assert (await counter.history.remote())[1:] == [2]


async def test_what_few_classes_do(shop: DeploymentHandle) -> None:
    """An async constructor, methods by `__getattr__`, `__call__`, awaitables from plain methods."""
    odd = tasks.Odd.remote(["a", "b"])
    assert await odd.__call__.remote() == ["a", "b"]
    assert await odd.later.remote() == ["a", "b"]
    assert await odd.say_hola.remote() == "hola"
    for name in ("number", "nothing"):
        with pytest.raises(UnknownMethodError, match=f"Odd has no method '{name}'"):
            await getattr(odd, name).remote()
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await odd.stop.remote()
    with pytest.raises(RemoteError, match="SystemExit"):
        await odd.leave.remote()
    with pytest.raises(AttributeError):
        odd.__nothing__  # noqa: B018 - looking is what fails


# ---- handles


async def test_handles_travel(shop: DeploymentHandle) -> None:
    """To tasks, deployments and back, before the actor is there or after."""
    counter = tasks.Counter.remote()
    assert await tasks.use_counter.remote(counter, 1) == 1
    assert await tasks.use_counter.remote(await shop.plain.remote(counter), 2) == 3
    its = await shop.its_counter.remote()
    assert type(its) is ActorHandle
    before = await its.add.remote(0)
    assert await shop.count.remote(2) == before + 4
    assert await its.add.remote() == before + 5


async def test_an_actor_is_found_by_its_name(shop: DeploymentHandle) -> None:
    """From anywhere in the mesh; and by one that asks before it is made."""
    name = next(_names)
    made = tasks.Counter.options(name=name, lifetime="detached").remote(5)
    found = tasks.Counter.options(name=name, get_if_exists=True).remote(50)
    assert [await made.add.remote(), await found.add.remote()] == [6, 7]
    assert await meshgen.get_actor(name).add.remote() == 8
    assert await asyncio.to_thread(_add_by_name, name) == 9
    assert await shop.name_an_actor.remote(name) == 11


def _add_by_name(name: str) -> int:
    handle = meshgen.get_actor(name)
    assert repr(handle) == f"ActorHandle(actor {name!r} of class Counter)"
    with pytest.raises(UnknownMethodError):
        handle.subtract  # noqa: B018 - looking is what fails
    total: int = meshgen.get(handle.add.remote())
    return total


async def test_namespaces_keep_names_apart(shop: DeploymentHandle) -> None:
    """The same name twice."""
    name = next(_names)
    one = tasks.Counter.options(name=name, namespace="one").remote(1)
    other = tasks.Counter.options(name=name).remote(2)
    assert [await one.add.remote(0), await other.add.remote(0)] == [1, 2]
    assert await meshgen.get_actor(name, namespace="one").add.remote(0) == 1


async def test_two_handles_made_of_one_name_at_once_meet(shop: DeploymentHandle) -> None:
    """The constructor runs once."""
    name = next(_names)
    made = [tasks.Counter.options(name=name, get_if_exists=True).remote() for _ in range(5)]
    assert sorted(await asyncio.gather(*(each.add.remote() for each in made))) == [1, 2, 3, 4, 5]


# ---- what goes wrong


async def test_a_failed_constructor_is_told_by_every_call(shop: DeploymentHandle) -> None:
    """As its own error; and its name is free."""
    name = next(_names)
    broken = tasks.Unmakable.options(name=name).remote("flour")
    for _ in range(2):
        with pytest.raises(tasks.OutOfStock, match="flour"):
            await broken.ping.remote()
    with pytest.raises(tasks.OutOfStock, match="flour"):
        await tasks.use_counter.remote(broken_as_counter(broken), 1)
    assert await tasks.Counter.options(name=name).remote(3).add.remote() == 4


def broken_as_counter(broken: Any) -> Any:
    """A handle of which nothing is known but where the actor was to be."""
    return ActorHandle(None, broken._place, None)


async def test_an_exception_is_of_its_own_type(shop: DeploymentHandle) -> None:
    """And the actor lives on."""
    counter = tasks.Counter.remote()
    with pytest.raises(tasks.OutOfStock, match="milk"):
        await counter.fail.remote("milk")
    assert await counter.add.remote() == 1
    with pytest.raises(tasks.OutOfStock, match="eggs"):
        await counter.add.remote(tasks.fail.remote("eggs"))
    assert await counter.add.remote() == 2


async def test_a_taken_name_is_refused(shop: DeploymentHandle) -> None:
    """By the calls of the second one; the first is as before."""
    name = next(_names)
    first = tasks.Counter.options(name=name).remote(1)
    with pytest.raises(OptionError, match=f"the name '{name}' is taken by actor '{name}' of"):
        await tasks.Gates.options(name=name).remote().names.remote()
    assert await first.add.remote() == 2


async def test_an_unknown_name_is_an_error(shop: DeploymentHandle) -> None:
    """At once, or on a running loop by the first call."""
    with pytest.raises(NoSuchActorError, match="no actor 'nobody' lives in this mesh"):
        await asyncio.to_thread(meshgen.get_actor, "nobody")
    with pytest.raises(NoSuchActorError, match="no actor 'nobody' lives in this mesh"):
        await meshgen.get_actor("nobody").ping.remote()
    with pytest.raises(NoSuchActorError, match="nobody"):
        await shop.get_unknown.remote("nobody")
    with pytest.raises(ValueError, match="needs the name"):
        meshgen.get_actor("")


async def test_a_killed_actor_says_so(shop: DeploymentHandle, gates: Any) -> None:
    """To calls that run, to those that wait, and to later ones; its name is free again."""
    name = next(_names)
    doomed = tasks.Gates.options(name=name, max_concurrency=1).remote()
    running = doomed.pass_through.remote("a")
    waiting = doomed.names.remote()
    meshgen.kill(doomed)
    for ref in (running, waiting, doomed.names.remote()):
        with pytest.raises(ActorDiedError, match="of class Gates is dead: it was killed"):
            await ref
    meshgen.kill(doomed)
    with pytest.raises(NoSuchActorError):
        await asyncio.to_thread(meshgen.get_actor, name)
    assert await tasks.Counter.options(name=name).remote().add.remote() == 1


async def test_what_could_not_run_is_refused_at_once(shop: DeploymentHandle) -> None:
    """Before anything is sent."""
    counter = tasks.Counter.remote()
    with pytest.raises(UnknownMethodError, match=r"Counter has no method 'subtract'; it has: add"):
        counter.subtract.remote()
    with pytest.raises(SignatureError, match=r"add\(by=\.\.\.\) cannot be called like that"):
        counter.add.remote(1, 2)
    with pytest.raises(SignatureError, match=r"Counter\.remote\(start=\.\.\.\) cannot"):
        tasks.Counter.remote(1, 2)
    with pytest.raises(OptionError, match="yields is a generator"):
        counter.yields.remote()
    with pytest.raises(OptionTypeError, match=r"use handle\.add\.remote"):
        counter.add(1)
    with pytest.raises(OptionTypeError, match=r"use Counter\.remote"):
        tasks.Counter()
    with pytest.raises(OptionTypeError, match="this is none"):
        meshgen.kill(cast(Any, 3))
    with pytest.raises(OptionError, match="make a new actor"):
        meshgen.kill(counter, no_restart=False)
