"""Responses inside of something else: the callee gets a reference, and begins at once."""

from __future__ import annotations

import asyncio
import itertools
import os
import pickle
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshgen.errors import ObjectLostError, ReplicaLostError, SerializationError
from meshgen.objectref import ObjectRef
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps.futures import SHAPES, Unwell, app

pytestmark = pytest.mark.asyncio(loop_scope="module")

Handles = dict[str, DeploymentHandle]
LARGE = 5_000_000
_tags = map("call {}".format, itertools.count())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/futures.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle.options(timeout_s=30)


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
    """Takes values and keeps them."""
    return handles["taker"]


@pytest.fixture
def relay(handles: Handles) -> DeploymentHandle:
    """Passes on to the taker what it is given."""
    return handles["relay"]


# ---- in an argument


@pytest.mark.parametrize("shape", sorted(SHAPES))
async def test_a_response_in_something_arrives_as_a_reference(
    maker: DeploymentHandle, taker: DeploymentHandle, shape: str
) -> None:
    """To a value that is still to come as to one that is here."""
    early = SHAPES[shape](maker.add.remote(1, 2))
    assert await taker.open_box.remote(early) == ("ObjectRef", 3)
    here = maker.add.remote(3, 4)
    assert await here == 7
    assert await taker.open_box.remote(SHAPES[shape](here)) == ("ObjectRef", 7)


async def test_the_call_begins_before_the_value_is_there(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """It waits when it awaits."""
    tag = next(_tags)
    response = taker.begin_with.remote(tag, [maker.late.remote(tag, "late")])
    await taker.begin.remote(tag)
    assert not response.done
    await maker.open.remote(tag)
    assert await response == "late"


async def test_value_and_reference_in_one_call(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Of the same response even; each place gets what belongs there."""
    shared = maker.add.remote(1, 2)
    kinds = await taker.types.remote(shared, 5, [shared], named=shared)
    assert kinds == ["int", "int", "list", "int"]
    assert await taker.same.remote([shared], [shared])


async def test_many_references_in_one_argument(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """A hundred of them, each with its own value."""
    refs = [maker.add.remote(number) for number in range(100)]
    boxes = [taker.open_box.remote(refs[number:]) for number in range(100)]
    assert [value for _, value in await asyncio.gather(*boxes)] == list(range(100))


async def test_a_reference_is_awaited_twice(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Small and large."""
    assert await taker.twice.remote([maker.add.remote(1)]) == [1, 1]
    assert await taker.twice.remote([maker.block.remote(LARGE)]) == [LARGE, LARGE]


async def test_a_reference_works_in_a_loop_of_a_thread(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """A method in a thread may run a loop of its own."""
    assert await taker.open_box_in_thread.remote([maker.add.remote(1, 2)]) == 3


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_reference_that_is_kept_outlives_its_call(
    maker: DeploymentHandle, taker: DeploymentHandle, size: int
) -> None:
    """Even after its maker's caller has forgotten the response."""
    tag = next(_tags)
    await taker.keep.remote(tag, [maker.block.remote(size)])
    assert await maker.add.remote(1) == 1
    assert await taker.kept_size.remote(tag) == size
    assert await taker.kept_size.remote(tag) == size
    await taker.let_go.remote(tag)


async def test_a_reference_to_a_late_value_is_kept(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """The call that was given it is over before the value is made."""
    tag = next(_tags)
    await taker.keep.remote(tag, {"late": maker.late_block.remote(tag, LARGE)})
    waiting = taker.kept_size.remote(tag)
    await maker.open.remote(tag)
    assert await waiting == LARGE
    await taker.let_go.remote(tag)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_reference_is_passed_on(
    maker: DeploymentHandle, relay: DeploymentHandle, size: int
) -> None:
    """To a third deployment: as an argument of its own it becomes the value there."""
    assert await relay.pass_value.remote([maker.add.remote(size)]) == size + 1
    assert await relay.pass_size.remote([maker.block.remote(size)]) == size
    kind, block = await relay.pass_nested.remote([maker.block.remote(size)])
    assert (kind, len(block)) == ("ObjectRef", size)


async def test_a_reference_is_passed_on_before_its_value_is_there(
    maker: DeploymentHandle, relay: DeploymentHandle
) -> None:
    """Two hops away, the last of them waits."""
    tag = next(_tags)
    late = maker.late.remote(tag, 1)
    nested, value = relay.pass_nested.remote([late]), relay.pass_value.remote([late])
    await maker.begin.remote(tag)
    await maker.open.remote(tag)
    assert (await nested, await value) == (("ObjectRef", 1), 2)


async def test_inside_of_a_deployment_references_are_made_alike(front: DeploymentHandle) -> None:
    """A response of one's own is passed on nested."""
    assert await front.by_reference.remote(1) == ("ObjectRef", 2)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_a_reference_outlives_a_replica_that_leaves(size: int) -> None:
    """One that is stopped in good order hands its values to whoever refers to them."""
    async with run_app(app, mode="processes") as front:
        handles: Handles = await front.all.remote()
        maker, taker = handles["maker"], handles["taker"]
        mine = await maker.block.remote(size)._to_object_ref()
        failed = await maker.fail.remote("left behind")._to_object_ref()
        await taker.keep.remote("kept", [maker.block.remote(size)])
        await taker.keep.remote("failed", [failed])
        await _replace(maker)
        assert await taker.kept_size.remote("kept") == size
        assert await taker.size.remote(mine) == size
        for call in (taker.kept_size.remote("failed"), taker.open_box.remote([failed])):
            with pytest.raises(Unwell, match="left behind"):
                await call


async def _replace(maker: DeploymentHandle) -> None:
    """Stop the replica in good order, and wait for its successor."""
    left = await maker.process.remote()
    os.kill(left, signal.SIGTERM)
    async with asyncio.timeout(60):
        while await _process(maker) == left:
            pass


async def _process(maker: DeploymentHandle) -> int:
    try:
        found: int = await maker.process.remote()
    except ReplicaLostError:
        return await _process(maker)
    return found


# ---- in a result


async def test_a_result_may_hold_a_response(front: DeploymentHandle) -> None:
    """Its caller gets a reference, to a small value or to a large one."""
    found = await front.give_ref.remote(1)
    assert type(found["small"]) is ObjectRef
    assert [await found["small"], await found["small"]] == [2, 2]
    assert len(await (await front.give_large.remote(LARGE)).content) == LARGE


async def test_a_result_may_be_a_response(front: DeploymentHandle, taker: DeploymentHandle) -> None:
    """A reference, which can be passed on."""
    ref = await front.give_response.remote(1)
    assert await ref == 2
    assert await taker.add.remote(ref, right=ref) == 4


async def test_a_result_comes_before_what_it_refers_to(
    front: DeploymentHandle, maker: DeploymentHandle
) -> None:
    """The call that gave it is over by then."""
    tag = next(_tags)
    (ref,) = await front.give_late.remote(tag)
    await maker.open.remote(tag)
    assert await ref == tag


async def test_a_result_that_holds_references_is_passed_on(
    front: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """By value: the callee gets the container, with the reference in it."""
    assert await taker.open_box.remote(front.give_ref.remote(1)) == ("ObjectRef", 2)
    kind, block = await taker.open_box.remote(front.give_large.remote(LARGE))
    assert (kind, len(block)) == ("ObjectRef", LARGE)


@pytest.mark.parametrize("size", [10, LARGE])
async def test_what_was_kept_is_given_back(
    maker: DeploymentHandle, taker: DeploymentHandle, size: int
) -> None:
    """A reference of another's response, and it outlives the keeper's own hold."""
    tag = next(_tags)
    await taker.keep.remote(tag, [maker.block.remote(size)])
    (ref,) = await taker.give.remote(tag)
    await taker.let_go.remote(tag)
    assert len(await ref) == size


# ---- what goes wrong


async def test_a_reference_to_a_failed_call_raises_when_it_is_awaited(
    front: DeploymentHandle, maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """The call that was given it has begun by then."""
    tag = next(_tags)
    response = taker.begin_with.remote(tag, [maker.fail_late.remote(tag)])
    await taker.begin.remote(tag)
    await maker.open.remote(tag)
    with pytest.raises(Unwell) as caught:
        await response
    assert caught.value.degrees == 40
    failed = maker.fail.remote("failed before")
    with pytest.raises(Unwell):
        await failed
    assert await taker.drop.remote([failed]) == "dropped"
    with pytest.raises(Unwell, match="failed before"):
        await taker.open_box.remote([failed])
    (ref,) = await front.give_failed.remote()
    for _ in range(2):
        with pytest.raises(Unwell, match="given"):
            await ref


async def test_a_reference_that_nobody_awaits_does_no_harm(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """Its value is made for nobody."""
    tag = next(_tags)
    assert await taker.drop.remote([maker.late.remote(tag, 1)]) == "dropped"
    await maker.open.remote(tag)


async def test_a_response_is_pickled_as_part_of_a_call_only(maker: DeploymentHandle) -> None:
    """Elsewhere an ObjectRef says where its value is."""
    tag = next(_tags)
    response = maker.late.remote(tag, [1, 2])
    with pytest.raises(SerializationError, match="await response._to_object_ref"):
        pickle.dumps(response)
    ref = pickle.loads(pickle.dumps(await response._to_object_ref()))
    await maker.open.remote(tag)
    assert await ref == [1, 2]
    here = pickle.loads(pickle.dumps(ObjectRef(response)))
    assert await here == [1, 2]


async def test_a_reference_without_a_lease_is_lost_with_the_last_one(
    maker: DeploymentHandle,
) -> None:
    """One that was pickled by hand keeps nothing: it says so when it is too late."""
    response = maker.block.remote(LARGE)
    data = pickle.dumps(await response._to_object_ref())
    assert len(await response) == LARGE
    del response
    async with asyncio.timeout(5):
        # The word that nobody needs the value has left before this question does.
        assert await maker.add.remote(1) == 1
        with pytest.raises(ObjectLostError, match=r"Maker.* everyone who held it has let go"):
            await pickle.loads(data)


async def test_a_reference_to_nobody_is_lost(
    maker: DeploymentHandle, taker: DeploymentHandle
) -> None:
    """A deployment or a replica that this mesh does not have; whoever needs the value is told."""
    ref = await maker.block.remote(LARGE)._to_object_ref()
    data = pickle.dumps(ref)
    assert ref.reply.token is not None
    for there in (ref.reply.token.owner.name, ref.reply.token.address):
        elsewhere = there[:-1] + "#"
        forged = pickle.loads(data.replace(there.encode(), elsewhere.encode()))
        async with asyncio.timeout(5):
            with pytest.raises(ObjectLostError, match="is lost"):
                await forged
            with pytest.raises(ObjectLostError, match=r"Taker was not called: .* is lost"):
                await taker.add.remote(
                    pickle.loads(data.replace(there.encode(), elsewhere.encode()))
                )
