"""Responses that are passed on: the callee gets the value, and nobody waits in between."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import numpy as np
import pytest
import pytest_asyncio

from meshgen.errors import (
    MeshError,
    NotServingError,
    ObjectLostError,
    RequestCancelledError,
    SerializationError,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps.futures import Unwell, app

pytestmark = pytest.mark.asyncio(loop_scope="module")

Handles = dict[str, DeploymentHandle]
LARGE = 5_000_000
_tags = map("call {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/futures.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def handles(front: DeploymentHandle) -> Handles:
    """The handles of the others, by name; a call that hangs fails its test."""
    found: Handles = await front.all.remote()
    return {name: handle.options(timeout_s=30) for name, handle in found.items()}


@pytest.fixture
def maker(handles: Handles) -> DeploymentHandle:
    """Makes values, at once or when it is told to."""
    return handles["maker"]


@pytest.fixture
def taker(handles: Handles) -> DeploymentHandle:
    """Takes values, and counts the calls that do."""
    return handles["taker"]


# ---- chaining


async def test_a_response_becomes_its_value(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Positional and by keyword, alone and beside plain arguments."""
    assert await taker.add.remote(maker.add.remote(1)) == 1
    assert await taker.add.remote(1, right=maker.add.remote(2)) == 3
    assert await taker.total.remote(maker.add.remote(1), 2, a=maker.add.remote(3), b=4) == 10
    assert await taker.add_in_thread.remote(maker.add.remote(1), maker.add.remote(2)) == 3


async def test_a_response_becomes_its_value_inside_of_deployments(front: DeploymentHandle) -> None:
    """In async methods as in those that run in a thread."""
    assert await front.chain.remote(3) == 6
    assert await front.chain_in_thread.remote(4) == 7


async def test_one_response_may_go_to_many_calls(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Before it is there and after, and twice to the same call."""
    tag = next(_tags)
    shared = maker.late.remote(tag, 5)
    early = [taker.add.remote(shared, number) for number in range(50)]
    both = taker.add.remote(shared, shared)
    await maker.open.remote(tag)
    assert await asyncio.gather(*early) == [5 + number for number in range(50)]
    assert await both == 10
    late = [taker.add.remote(shared, number) for number in range(50)]
    assert await asyncio.gather(*late) == [5 + number for number in range(50)]


async def test_many_responses_may_go_to_one_call(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """A hundred, in their places."""
    parts = [maker.add.remote(number) for number in range(100)]
    assert await taker.total.remote(*parts) == sum(range(100))
    named = {f"n{number}": maker.add.remote(number) for number in range(100)}
    assert await taker.total.remote(**named) == sum(range(100))


async def test_chains_of_ten(maker: DeploymentHandle, taker: DeploymentHandle) -> None:
    """Alternating between two deployments, built before the first value is there."""
    tag = next(_tags)
    response = maker.late.remote(tag, 0)
    for number in range(10):
        response = (taker, maker)[number % 2].add.remote(response, 1)
    await maker.open.remote(tag)
    assert await response == 10


async def test_a_deployment_may_call_itself_with_its_own_response(maker: DeploymentHandle) -> None:
    """The value is there already, as it were."""
    tag = next(_tags)
    response = maker.add.remote(maker.late.remote(tag, 1), maker.block.remote(100_000))
    await maker.open.remote(tag)
    assert (await response).tolist() == [2] * 100_000


async def test_remote_never_waits(maker: DeploymentHandle, taker: DeploymentHandle) -> None:
    """Neither for a value nor for a replica: the loop has not run once in between."""
    tag = next(_tags)
    ran: list[int] = []
    asyncio.get_running_loop().call_soon(ran.append, 1)
    response = taker.add.remote(maker.late.remote(tag, 1), 1)
    assert ran == []
    assert not response.done
    await maker.open.remote(tag)
    assert await response == 2


async def test_a_call_that_waits_for_a_value_takes_no_slot(
    maker: DeploymentHandle, handles: Handles
) -> None:
    """A deployment that takes one call at a time answers others in the meantime."""
    tag = next(_tags)
    narrow = handles["narrow"]
    waiting = [narrow.echo.remote(maker.late.remote(tag, 1)) for _ in range(5)]
    await maker.begin.remote(tag)
    assert [await narrow.echo.remote(number) for number in range(20)] == list(range(20))
    assert not any(response.done for response in waiting)
    await maker.open.remote(tag)
    assert await asyncio.gather(*waiting) == [1] * 5


async def test_a_response_may_be_awaited_and_passed_on_in_any_order(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Passed on before, during and after, awaited twice."""
    tag = next(_tags)
    response = maker.late.remote(tag, 2)
    first = taker.add.remote(response)
    await maker.open.remote(tag)
    assert await response == 2
    second = taker.add.remote(response, right=response)
    assert (await response, await first, await second) == (2, 2, 4)
    third = taker.add.remote(response)
    assert (await response, await third, await third) == (2, 2, 2)


async def test_a_value_that_is_here_is_passed_on_too(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Of a response that nobody was told of while it was under way."""
    response = maker.add.remote(1, 2)
    assert await response == 3
    assert await taker.add.remote(response) == 3
    assert await taker.type_of.remote(response) == "int"
    array = maker.block.remote(10)
    assert len(await array) == 10
    assert await taker.size.remote(array) == 10


async def test_a_response_goes_to_a_streaming_call(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Generators get the value as well."""
    tag = next(_tags)
    stream = taker.options(stream=True).counts.remote(maker.late.remote(tag, 3))
    await maker.open.remote(tag)
    assert [item async for item in stream] == [0, 1, 2]


# ---- large values


async def test_a_large_value_is_passed_on(maker: DeploymentHandle, taker: DeploymentHandle) -> None:
    """Early and late, to two calls at once."""
    tag = next(_tags)
    early = maker.late_block.remote(tag, LARGE)
    sizes = [taker.size.remote(early), taker.size.remote(early)]
    await maker.open.remote(tag)
    assert await asyncio.gather(*sizes) == [LARGE, LARGE]
    assert await taker.size.remote(maker.block.remote(LARGE)) == LARGE


async def test_a_large_value_is_awaited_twice_and_then_passed_on(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """It is one and the same value at the caller."""
    response = maker.block.remote(LARGE)
    value = await response
    assert value is await response
    assert np.array_equal(value, np.ones(LARGE, dtype="u1"))
    assert await taker.size.remote(response) == LARGE
    passed_on_first = maker.block.remote(LARGE)
    assert await taker.size.remote(passed_on_first) == LARGE
    assert (await passed_on_first).nbytes == LARGE
    assert await taker.size.remote(passed_on_first) == LARGE


async def test_large_arguments_go_along_with_a_response(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Arguments that are uploaded, beside a value that is fetched."""
    block = np.ones(1_000_000, dtype="i8")
    tag = next(_tags)
    response = taker.add.remote(block, maker.late.remote(tag, 1))
    await maker.open.remote(tag)
    assert int((await response).sum()) == 2_000_000


async def test_a_thousand_chains_at_once(maker: DeploymentHandle, taker: DeploymentHandle) -> None:
    """More than any replica takes at a time."""
    small = [taker.add.remote(maker.add.remote(number), 1) for number in range(1000)]
    large = [taker.size.remote(maker.block.remote(100_000)) for _ in range(50)]
    assert await asyncio.gather(*small) == [number + 1 for number in range(1000)]
    assert await asyncio.gather(*large) == [100_000] * 50


# ---- what goes wrong


@pytest.mark.parametrize("passed_on", ["before", "after"])
async def test_an_upstream_error_is_the_error_of_the_call(
    maker: DeploymentHandle, taker: DeploymentHandle, passed_on: str
) -> None:
    """The original one; the method did not run, and its replica is as well as before."""
    tag = next(_tags)
    calls = await taker.count.remote()
    failing = maker.fail_late.remote(tag)
    if passed_on == "after":
        await maker.open.remote(tag)
        with pytest.raises(Unwell):
            await failing
    responses = [taker.add.remote(failing, 1), taker.add.remote(1, right=failing)]
    responses.append(taker.add.remote(responses[0]))
    await maker.open.remote(tag)
    for response in responses:
        with pytest.raises(Unwell) as caught:
            await response
        assert (caught.value.args, caught.value.degrees) == ((tag, 40), 40)
        assert "fail_late" in str(caught.value.__cause__)
    assert await taker.count.remote() == calls
    assert await taker.add.remote(1, 2) == 3


async def test_a_result_that_cannot_be_pickled_is_the_error_of_the_call(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """It names the type, and the callee does not run."""
    with pytest.raises(SerializationError, match="lock"):
        await taker.add.remote(maker.unpicklable.remote())


async def test_an_upstream_error_surfaces_through_a_deployment(front: DeploymentHandle) -> None:
    """As itself, after three hops."""
    with pytest.raises(Unwell, match="inside"):
        await front.chain_fails.remote()


async def test_one_failed_response_among_many_fails_the_call(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Without waiting for the others."""
    tag = next(_tags)
    never = maker.late.remote(tag, 1)
    with pytest.raises(Unwell):
        await taker.total.remote(never, maker.fail.remote("one"), maker.add.remote(1))
    await maker.open.remote(tag)
    assert await never == 1


async def test_a_cancelled_response_cancels_what_waits_for_it(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Whoever waits downstream is told so, and the method does not run."""
    tag = next(_tags)
    calls = await taker.count.remote()
    upstream = maker.late.remote(tag, 1)
    downstream = taker.add.remote(upstream)
    await maker.begin.remote(tag)
    upstream.cancel()
    with pytest.raises(RequestCancelledError):
        await downstream
    with pytest.raises(RequestCancelledError):
        await taker.add.remote(upstream)
    assert await taker.count.remote() == calls


async def test_cancelling_what_waits_leaves_the_value_alone(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """The upstream call runs on, for whoever else wants it."""
    tag = next(_tags)
    calls = await taker.count.remote()
    upstream = maker.late.remote(tag, 1)
    downstream, other = taker.add.remote(upstream), taker.add.remote(upstream, 1)
    await maker.begin.remote(tag)
    downstream.cancel()
    with pytest.raises(RequestCancelledError):
        await downstream
    await maker.open.remote(tag)
    assert (await other, await upstream) == (2, 1)
    assert await taker.count.remote() == calls + 1


async def test_what_came_from_a_mesh_that_is_gone_can_be_passed_on(
    mode: Mode, taker: DeploymentHandle
) -> None:
    """A value that is here, and a large one that its replica handed over as it left."""
    async with run_app(app, mode=mode) as gone:
        maker = (await gone.all.remote())["maker"]
        small, large = maker.add.remote(1), maker.block.remote(LARGE)
        assert (await small, len(await large)) == (1, LARGE)
    assert await taker.add.remote(small) == 1
    assert (await small, len(await large)) == (1, LARGE)


async def test_a_failure_that_somebody_keeps_holds_nobody_up(
    mode: Mode, taker: DeploymentHandle
) -> None:
    """Its replica hands it over as it leaves, and it is still what it was."""
    async with AsyncExitStack() as stack:
        gone = await stack.enter_async_context(run_app(app, mode=mode))
        handles: Handles = await gone.all.remote()
        failing = handles["maker"].fail.remote("kept")
        ref = await failing._to_object_ref()
        with pytest.raises(Unwell, match="kept"):
            await handles["taker"].add.remote(ref)
        # Its replica has 20 s to hand out what others need.
        async with asyncio.timeout(15):
            await stack.aclose()
    with pytest.raises(Unwell, match="kept"):
        await failing


async def test_what_is_left_in_a_mesh_that_is_gone_is_lost(taker: DeploymentHandle) -> None:
    """Whoever asks for it is told so, at once."""
    async with run_app(app, mode="processes") as gone:
        handles: Handles = await gone.all.remote()
        large = handles["maker"].block.remote(LARGE)
        assert await handles["taker"].size.remote(large) == LARGE
        ref = await large._to_object_ref()
    calls = await taker.count.remote()
    async with asyncio.timeout(15):
        with pytest.raises(ObjectLostError, match="Taker was not called: .*Maker.* is lost"):
            await taker.size.remote(ref)
        assert await taker.count.remote() == calls
        with pytest.raises(ObjectLostError, match="Maker.* is lost"):
            await taker.open_box.remote([ref])
        with pytest.raises(NotServingError, match="Maker"):
            await large
        with pytest.raises(NotServingError, match="Maker"):
            await taker.size.remote(large)
        with pytest.raises(MeshError, match="shut down"):
            await gone.chain.remote(1)


async def test_a_replica_that_dies_takes_its_values_along() -> None:
    """Whoever waits for them is told so within seconds, and both deployments are named."""
    async with run_app(app, mode="processes") as front, asyncio.timeout(25):
        handles: Handles = await front.all.remote()
        maker, taker = handles["maker"], handles["taker"]
        kept = maker.block.remote(LARGE)
        assert await taker.size.remote(kept) == LARGE
        waiting = taker.add.remote(maker.die_late.remote("die"))
        nested = taker.open_box.remote([maker.late.remote("never", 1)])
        await maker.begin.remote("never")
        maker.open.remote("die")
        with pytest.raises(ObjectLostError, match="Taker was not called: .*Maker"):
            await waiting
        with pytest.raises(ObjectLostError, match="Taker was not called: .*Maker"):
            await taker.size.remote(kept)
        # Who asks late may be told so by the replica that is in its place by then.
        for lost in (nested, kept):
            with pytest.raises(ObjectLostError, match="Maker.* is (lost|not there)"):
                await lost
        assert await taker.add.remote(1, maker.add.remote(1)) == 2
