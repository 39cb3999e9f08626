"""What becomes of exceptions of user code: own type, own attributes, remote traceback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from meshgen.errors import (
    DeployError,
    GeneratorMismatchError,
    RemoteError,
    RemoteTraceback,
    RequestCancelledError,
)
from meshgen.serve.deployment import Application
from meshgen.serve.handle import DeploymentHandle
from meshgen.testing import Mode, run_app
from tests.apps import failing
from tests.apps.failing import OutOfStockError, app

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counter(mode: Mode) -> AsyncIterator[DeploymentHandle]:
    """The ingress of tests/apps/failing.py."""
    async with run_app(app, mode=mode) as handle:
        yield handle


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(counter: DeploymentHandle) -> DeploymentHandle:
    """The deployment whose methods fail."""
    found: DeploymentHandle = (await counter.all.remote())["shop"]
    return found


async def test_an_exception_arrives_as_its_own_type_with_its_traceback(
    shop: DeploymentHandle,
) -> None:
    """`except ValueError` works, and the remote lines are readable."""
    with pytest.raises(ValueError, match="^too small$") as caught:
        await shop.value_error.remote("too small")
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in value_error" in cause.text
    assert "raise ValueError(message)" in cause.text
    assert "meshgen/runtime" not in cause.text
    assert "(on default/Shop#0)" in cause.text


async def test_a_remote_chain_of_causes_is_in_the_traceback(shop: DeploymentHandle) -> None:
    """`raise … from …` over there is told here."""
    with pytest.raises(RuntimeError, match="while looking") as caught:
        await shop.async_error.remote()
    assert "KeyError: 'missing'" in str(caught.value.__cause__)


async def test_own_exceptions_keep_their_attributes(shop: DeploymentHandle) -> None:
    """Also those whose constructor takes more than a message."""
    with pytest.raises(OutOfStockError, match="no tea left") as caught:
        await shop.out_of_stock.remote()
    assert (caught.value.item, caught.value.left) == ("tea", 0)


async def test_an_exception_passes_through_a_deployment_as_itself(
    counter: DeploymentHandle,
) -> None:
    """Two hops are no different, and the one in between may catch it."""
    with pytest.raises(OutOfStockError, match="no tea left"):
        await counter.ask.remote("out_of_stock")
    assert await counter.recover.remote() == "tea 0"


async def test_an_exception_of_a_local_class_is_caught_by_its_base(shop: DeploymentHandle) -> None:
    """It travels by value."""
    with pytest.raises(LookupError, match="only here"):
        await shop.local_class.remote()


@pytest.mark.parametrize(
    ("method", "type_name", "message"),
    [
        ("unpicklable", "builtins.ValueError", "holds a lock"),
        ("keyword_only", "tests.apps.failing.KeywordOnlyError", "code 7"),
        ("exit_sync", "builtins.SystemExit", "3"),
        ("exit_async", "builtins.SystemExit", "3"),
        ("interrupt", "builtins.KeyboardInterrupt", ""),
        ("interrupt_sync", "builtins.KeyboardInterrupt", ""),
        ("stop_async_iteration", "builtins.StopAsyncIteration", ""),
    ],
)
async def test_what_cannot_be_raised_here_is_a_remote_error(
    shop: DeploymentHandle, method: str, type_name: str, message: str
) -> None:
    """It has the type's name and the traceback, and the replica lives on."""
    before = await shop.ping.remote()
    with pytest.raises(RemoteError) as caught:
        await shop.options(method_name=method).remote()
    assert caught.value.type_name == type_name
    assert caught.value.message == message
    assert f"in {method}" in caught.value.traceback
    assert await shop.ping.remote() == before + 1


async def test_an_exception_that_cannot_be_shown_arrives_all_the_same(
    shop: DeploymentHandle,
) -> None:
    """A `__str__` that raises does not hide which error it was."""
    with pytest.raises(failing.BadStrError) as caught:
        await shop.bad_str.remote()
    assert "in bad_str" in str(caught.value.__cause__)


async def test_stop_iteration_is_a_runtime_error(shop: DeploymentHandle) -> None:
    """Python's own rule for coroutines."""
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        await shop.stop_iteration.remote()


async def test_exception_groups_arrive_whole(shop: DeploymentHandle) -> None:
    """`except*` works."""
    with pytest.raises(ExceptionGroup) as caught:
        await shop.group.remote()
    assert [type(error) for error in caught.value.exceptions] == [ValueError, OutOfStockError]


async def test_cancelled_error_of_user_code_is_a_cancelled_request(shop: DeploymentHandle) -> None:
    """And does not cancel the task that waits for the call."""
    with pytest.raises(RequestCancelledError):
        await shop.cancelled.remote()


async def test_timeouts_and_notes_arrive(shop: DeploymentHandle) -> None:
    """Builtin errors come as they are."""
    with pytest.raises(TimeoutError):
        await shop.timeout.remote()
    with pytest.raises(ValueError, match="with a note") as caught:
        await shop.noted.remote()
    assert "read this" in caught.value.__notes__


async def test_a_result_that_is_a_generator_names_the_remedy(shop: DeploymentHandle) -> None:
    """Instead of a complaint that generators cannot be pickled."""
    with pytest.raises(GeneratorMismatchError, match=r"options\(stream=True\).bad_result"):
        await shop.bad_result.remote()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (failing.Broken.bind("no model"), "cannot load: no model"),
        (failing.Quits.bind(), "no configuration"),
    ],
    ids=["raises", "exits"],
)
async def test_a_constructor_that_fails_is_told(
    mode: Mode, broken: Application, message: str
) -> None:
    """In process as what it raised, from a process with its traceback; the mesh is gone then."""
    with pytest.raises((DeployError, ValueError), match=message) as caught:
        async with run_app(broken, mode=mode):
            pass
    if mode == "processes":
        assert isinstance(caught.value, DeployError)
        assert "Traceback (most recent call last)" in str(caught.value)
    assert "meshgen/runtime" not in str(caught.value)


async def test_user_config_is_given_after_the_constructor(mode: Mode) -> None:
    """Once, before the first request; an empty one counts."""
    for config in ({"a": [1, None]}, {}):
        app = failing.Configured.options(user_config=config).bind()
        async with run_app(app, mode=mode) as handle:
            assert await handle.configs.remote() == [config]
