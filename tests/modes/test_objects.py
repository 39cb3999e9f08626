"""`meshgen.put`, `meshgen.get` and `meshgen.wait`, from programs and from inside of deployments."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

import meshgen
from meshgen.errors import (
    BlockingCallError,
    DeadlineError,
    ObjectLostError,
    OptionError,
    OptionTypeError,
    SerializationError,
)
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from meshgen.types import Token
from tests.apps.objects import LARGE, app

pytestmark = pytest.mark.asyncio(loop_scope="module")

SIZES = pytest.mark.parametrize("size", [10, LARGE], ids=["small", "large"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def box(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/objects.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle


@SIZES
async def test_what_is_put_arrives_by_value_and_by_reference(
    box: DeploymentHandle, size: int
) -> None:
    """As an argument of its own it is its value, in another it is a reference."""
    ref = meshgen.put(bytes(size))
    assert await box.describe.remote(ref) == ("bytes", size)
    assert await box.describe_all.remote([ref, ref]) == ["ObjectRef", size, "ObjectRef", size]
    assert await ref == bytes(size)


@SIZES
async def test_what_a_deployment_puts_outlives_the_call(box: DeploymentHandle, size: int) -> None:
    """By the reference that it returns."""
    ref = await box.put.remote(size)
    assert len(await ref) == size
    assert await box.describe.remote(ref) == ("bytes", size)


@SIZES
async def test_what_a_thread_of_a_deployment_puts_can_be_had(
    box: DeploymentHandle, size: int
) -> None:
    """Threads have no loop; `meshgen.get` blocks them."""
    assert await box.put_and_get_in_thread.remote(size) == [size, 2 * size]


@SIZES
async def test_references_may_be_put(box: DeploymentHandle, size: int) -> None:
    """Inside of something else, responses that are still on their way included."""
    inner = meshgen.put(bytes(size))
    outer = meshgen.put({"ready": inner, "coming": box.later.remote(size)})
    assert await box.sizes_in.remote(outer) == {"ready": size, "coming": size}
    found = await outer
    assert len(await found["coming"]) == size


@SIZES
async def test_a_reference_can_be_pickled_by_hand(box: DeploymentHandle, size: int) -> None:
    """It leads to its value wherever the mesh can be reached, while somebody keeps that."""
    ref = meshgen.put(bytes(size))
    await ref
    assert len(await pickle.loads(pickle.dumps(ref))) == size
    assert await box.unpickle.remote(pickle.dumps(ref)) == size


async def test_a_reference_is_lost_once_nobody_keeps_its_value(box: DeploymentHandle) -> None:
    """One that was pickled by hand keeps nothing; it says so at once."""
    ref = meshgen.put(bytes(LARGE))
    await ref
    saved = pickle.dumps(ref)
    assert await box.unpickle.remote(saved) == LARGE
    del ref
    with pytest.raises(ObjectLostError, match="gone"):
        async with asyncio.timeout(10):
            await pickle.loads(saved)


async def test_nobody_gets_a_value_by_guessing(box: DeploymentHandle) -> None:
    """The id is the key: with another one there is nothing to be had, and it is said at once."""
    ref = await box.put.remote(LARGE)
    token = ref.reply.kept.token
    forged = Token(token.owner, token.address, "0" * len(token.value_id))
    saved = pickle.dumps(ref).replace(token.value_id.encode(), forged.value_id.encode())
    with pytest.raises(ObjectLostError):
        async with asyncio.timeout(10):
            await pickle.loads(saved)
    assert len(await ref) == LARGE


async def test_get_waits_for_one_or_for_all(box: DeploymentHandle) -> None:
    """Of references and responses; in their order."""

    def get() -> Any:
        refs = [box.later.remote(3), meshgen.put(b"12"), box.later.remote(1)]
        return [len(each) for each in meshgen.get(refs)], meshgen.get(meshgen.put("one"))

    assert await asyncio.to_thread(get) == ([3, 2, 1], "one")


async def test_get_has_a_deadline(box: DeploymentHandle) -> None:
    """In seconds, for all together; the call goes on."""

    def get() -> None:
        response = box.never.remote()
        try:
            with pytest.raises(DeadlineError):
                meshgen.get([meshgen.put(1), response], timeout=0.05)
            assert not response.done
        finally:
            response.cancel()

    await asyncio.to_thread(get)


async def test_wait_tells_the_ready_from_the_others(box: DeploymentHandle) -> None:
    """In their order, as soon as so many are ready, or when the time is over."""

    def wait() -> None:
        never, ready, late = box.never.remote(), meshgen.put(1), box.later.remote(1)
        try:
            assert meshgen.wait([never, late, ready], num_returns=2, timeout=10) == (
                [late, ready],
                [never],
            )
            assert meshgen.wait([never], timeout=0.01) == ([], [never])
            assert meshgen.wait([ready, late]) == ([ready], [late])
        finally:
            never.cancel()

    await asyncio.to_thread(wait)


async def test_a_failed_call_is_ready(box: DeploymentHandle) -> None:
    """Whoever waits for it is told; `get` raises."""

    def wait() -> None:
        failing = box.fail.remote()
        assert meshgen.wait([failing], timeout=10) == ([failing], [])
        with pytest.raises(KeyError, match="no such thing"):
            meshgen.get(failing)

    await asyncio.to_thread(wait)


async def test_in_a_loop_nothing_blocks(box: DeploymentHandle) -> None:
    """They say what to use there."""
    ref = meshgen.put(1)
    with pytest.raises(BlockingCallError, match="await ref"):
        meshgen.get(ref)
    with pytest.raises(BlockingCallError, match=r"asyncio\.wait"):
        meshgen.wait([ref])


async def test_mistakes_are_told(box: DeploymentHandle) -> None:
    """What is no reference, is one already, or is there twice."""
    ref = meshgen.put(1)
    with pytest.raises(OptionTypeError, match="ObjectRef already"):
        meshgen.put(ref)
    with pytest.raises(SerializationError, match="lock"):
        meshgen.put(__import__("threading").Lock())

    def wrongly() -> None:
        with pytest.raises(OptionTypeError, match="expected an ObjectRef"):
            meshgen.get(1)
        with pytest.raises(OptionTypeError, match="takes a list of references, got ObjectRef"):
            meshgen.wait(ref)
        with pytest.raises(OptionError, match="twice"):
            meshgen.wait([ref, ref])
        with pytest.raises(OptionError, match="between 1 and the number of references, 1"):
            meshgen.wait([ref], num_returns=2)

    await asyncio.to_thread(wrongly)
