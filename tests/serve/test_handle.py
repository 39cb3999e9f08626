"""`DeploymentHandle`: how code calls a deployment, wherever that runs."""

from __future__ import annotations

import copy
import math
import pickle
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import cloudpickle
import pytest

from meshgen import serve
from meshgen.errors import (
    GeneratorMismatchError,
    NoSuchApplicationError,
    NotServingError,
    OptionError,
    OptionTypeError,
    SignatureError,
    UnknownMethodError,
)
from meshgen.items import ItemBuffer
from meshgen.reply import Reply
from meshgen.serve.context import current_request, scoped_caller
from meshgen.serve.handle import (
    DeploymentHandle,
    DeploymentResponse,
    DeploymentResponseGenerator,
)
from meshgen.stub import DeploymentStub, method_stubs
from meshgen.types import CallPolicy, DeploymentID, Payload, RequestContext
from tests.callers import KeepsNothing


class Cart:
    """A deployment with one method of each kind."""

    def __call__(self, item: str) -> str:
        """Echo."""
        return item

    def add(self, item: str, count: int = 1) -> str:
        """Unary."""
        return item * count

    def each(self, count: int) -> Iterator[int]:
        """Stream."""
        yield from range(count)

    def _internal(self) -> None: ...


class InMemoryCaller(KeepsNothing):
    """Runs calls here and now on one object, and remembers what it was asked."""

    def __init__(self, target: Any) -> None:
        self.target = target
        self.calls: list[tuple[str, Sequence[Any], Mapping[str, Any]]] = []
        self.contexts: list[RequestContext] = []
        self.policies: list[CallPolicy | None] = []

    def submit(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        reply: Reply,
        policy: CallPolicy | None = None,
    ) -> None:
        """Run the method and resolve the reply."""
        self.policies.append(policy)
        result = self._run(method, arguments, context)
        reply.resolve(Payload(pickle.dumps(result)), _decode)

    def open_stream(
        self,
        stub: DeploymentStub,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
        items: ItemBuffer,
    ) -> None:
        """Run the generator to its end."""
        made = self._run(method, arguments, context)
        items.put([Payload(pickle.dumps(item)) for item in made], _decode)
        items.end()

    def _run(
        self,
        method: str,
        arguments: tuple[Sequence[Any], Mapping[str, Any]],
        context: RequestContext,
    ) -> Any:
        args, kwargs = arguments
        self.calls.append((method, args, kwargs))
        self.contexts.append(context)
        return getattr(self.target, method)(*args, **kwargs)

    def find(self, target: DeploymentID) -> DeploymentStub:
        """Refuse: this caller knows its one deployment only."""
        raise NoSuchApplicationError(str(target))

    def ingress_of(self, app: str) -> DeploymentStub:
        """Refuse: this caller has no applications."""
        raise NoSuchApplicationError(app)


def _decode(payload: Payload) -> Any:
    return pickle.loads(payload.pickle)


def _stub(target: Any = Cart) -> DeploymentStub:
    return DeploymentStub(
        id=DeploymentID("shop", "Cart"),
        service="cart",
        methods=method_stubs(target),
        is_function=not isinstance(target, type),
    )


@pytest.fixture
def caller() -> InMemoryCaller:
    """A caller whose far side is right here."""
    return InMemoryCaller(Cart())


@pytest.fixture
def handle(caller: InMemoryCaller) -> DeploymentHandle:
    """A handle that calls through it."""
    return DeploymentHandle(_stub(), caller=caller)


@contextmanager
def _serving(request: RequestContext) -> Iterator[None]:
    token = current_request.set(request)
    try:
        yield
    finally:
        current_request.reset(token)


def test_remote_calls_the_object_itself(handle: DeploymentHandle, caller: InMemoryCaller) -> None:
    """`handle.remote(x)` is `__call__`; it is issued at once, awaited or not."""
    response = handle.remote("tea")
    assert caller.calls == [("__call__", ("tea",), {})]
    assert isinstance(response, DeploymentResponse)
    assert response.result() == "tea"


async def test_a_method_is_called_by_its_name(handle: DeploymentHandle) -> None:
    """By attribute or by option; arguments go by position and by keyword."""
    assert await handle.add.remote("tea", count=2) == "teatea"
    assert await handle.options(method_name="add").remote("tea") == "tea"


def test_the_last_method_name_wins(handle: DeploymentHandle, caller: InMemoryCaller) -> None:
    """`h.a.b` is `h.b`, as in Ray Serve."""
    handle.nonsense.add.remote("tea").result()
    handle.add.options(method_name="__call__").remote("tea").result()
    assert [method for method, _, _ in caller.calls] == ["add", "__call__"]


def test_private_methods_can_be_called_and_dunders_cannot(handle: DeploymentHandle) -> None:
    """Protocols of Python (copying, pickling, iterating) must not find a handle."""
    assert handle._internal.remote().result() is None
    for name in ("__deepcopy__", "__len__", "__fspath__"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
            getattr(handle, name)


def test_a_handle_is_no_container_and_no_function(handle: DeploymentHandle) -> None:
    """A slip such as `handle(x)` fails here, and a handle is true."""
    untyped: Any = handle
    for slip in (lambda: untyped("tea"), lambda: untyped[0], lambda: len(untyped)):
        with pytest.raises(TypeError):
            slip()
    assert bool(handle)


def test_a_stream_is_asked_for_by_an_option_that_sticks(handle: DeploymentHandle) -> None:
    """`h.options(stream=True).method` stays streaming."""
    stream = handle.options(stream=True).add.each.remote(3)
    assert isinstance(stream, DeploymentResponseGenerator)
    assert list(stream) == [0, 1, 2]


def test_a_generator_without_stream_is_refused_at_the_call(
    handle: DeploymentHandle, caller: InMemoryCaller
) -> None:
    """The sentence shows the call that works; nothing was sent."""
    with pytest.raises(GeneratorMismatchError, match=r"options\(stream=True\)\.each\.remote"):
        handle.each.remote(3)
    assert caller.calls == []


def test_a_misspelt_method_or_wrong_call_never_leaves(
    handle: DeploymentHandle, caller: InMemoryCaller
) -> None:
    """Both fail at `.remote()`, with a suggestion."""
    with pytest.raises(UnknownMethodError, match="Did you mean 'add'"):
        handle.ad.remote("tea")
    with pytest.raises(SignatureError, match=r"shop/Cart\.add\(item, count=\.\.\.\)"):
        handle.add.remote()
    assert caller.calls == []


def test_a_function_takes_any_keyword_that_it_has() -> None:
    """Even `self`, which is the handle's own first parameter."""

    class Holder:
        @staticmethod
        def __call__(self: int) -> int:  # noqa: B902  # the odd name is what matters
            return self + 1

    def function(self: int) -> int:
        return self + 1

    handle = DeploymentHandle(_stub(function), caller=InMemoryCaller(Holder()))
    assert handle.anything.remote(self=1).result() == 2


def test_options_change_a_copy(handle: DeploymentHandle, caller: InMemoryCaller) -> None:
    """The handle itself stays as it was."""
    handle.options(session_id="s", multiplexed_model_id="m", timeout_s=5)
    handle.remote("tea")
    (context,) = caller.contexts
    assert (context.session_id, context.multiplexed_model_id, context.deadline) == ("", "", None)


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        ({"use_new_handle_api": True}, OptionTypeError, "has no use_new_handle_api; it has meth"),
        ({"stream": "yes"}, OptionTypeError, "stream of .* cannot be 'yes'"),
        ({"stream": 1}, OptionTypeError, "stream of .* cannot be 1"),
        ({"method_name": None}, OptionTypeError, "method_name of .* cannot be None"),
        ({"session_id": 3}, OptionTypeError, "session_id of .* cannot be 3"),
        ({"multiplexed_model_id": 3}, OptionTypeError, "multiplexed_model_id of .* cannot be 3"),
        ({"timeout_s": "1"}, OptionTypeError, "timeout_s of .* cannot be '1'"),
        ({"timeout_s": True}, OptionTypeError, "timeout_s of .* cannot be True"),
        ({"timeout_s": 0}, OptionError, "timeout_s must be positive, got 0"),
        ({"timeout_s": -1.5}, OptionError, "timeout_s must be positive, got -1.5"),
        ({"idempotent": 1}, OptionTypeError, "idempotent of .* cannot be 1"),
        ({"hedge_after_s": True}, OptionTypeError, "hedge_after_s of .* cannot be True"),
        ({"hedge_after_s": 0}, OptionError, "hedge_after_s must be positive, got 0"),
        ({"timeout_s": math.nan}, OptionError, "timeout_s must be positive, got nan"),
    ],
)
def test_a_bad_option_is_refused(
    handle: DeploymentHandle, given: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """Where it is written, with what it was."""
    with pytest.raises(error, match=sentence):
        handle.options(**given)


def test_a_timeout_can_be_taken_back(handle: DeploymentHandle, caller: InMemoryCaller) -> None:
    """None is no deadline."""
    handle.options(timeout_s=5).options(timeout_s=None).remote("tea")
    assert caller.contexts[0].deadline is None


@pytest.mark.parametrize("dumps", [pickle.dumps, cloudpickle.dumps])
def test_a_handle_keeps_its_options_through_a_pickle(
    handle: DeploymentHandle, caller: InMemoryCaller, dumps: Any
) -> None:
    """And finds the caller of the place where it arrives."""
    handle.add.remote("warm", count=1)  # what a call caches must not travel or disturb
    sent = handle.options(stream=True, session_id="s", timeout_s=9).each
    arrived = pickle.loads(dumps(sent))
    there = InMemoryCaller(Cart())
    token = scoped_caller.set(there)
    try:
        assert list(arrived.remote(2)) == [0, 1]
    finally:
        scoped_caller.reset(token)
    assert there.contexts[0].session_id == "s" and there.contexts[0].deadline is not None
    assert [method for method, _, _ in caller.calls] == ["add"]


class Counted:
    """Promises something of its methods."""

    @serve.method(idempotent=True, hedge_after_s=0.5)
    def total(self) -> int:
        """Hedged."""
        return 1

    def add(self) -> None:
        """Once at most."""


@pytest.mark.parametrize(
    ("method", "options", "expected"),
    [
        ("add", {}, None),
        ("total", {}, CallPolicy(idempotent=True, hedge_after_s=0.5)),
        ("total", {"hedge_after_s": 2}, CallPolicy(idempotent=True, hedge_after_s=2)),
        ("total", {"idempotent": True}, CallPolicy(idempotent=True, hedge_after_s=0.5)),
        ("total", {"idempotent": False}, None),
        ("total", {"idempotent": None}, CallPolicy(idempotent=True, hedge_after_s=0.5)),
        ("add", {"idempotent": True}, CallPolicy(idempotent=True)),
        (
            "add",
            {"idempotent": True, "hedge_after_s": 0.1},
            CallPolicy(idempotent=True, hedge_after_s=0.1),
        ),
    ],
)
def test_options_take_the_place_of_what_a_method_promises(
    method: str, options: dict[str, Any], expected: CallPolicy | None
) -> None:
    """What neither says is not done."""
    caller = InMemoryCaller(Counted())
    handle = DeploymentHandle(_stub(Counted), caller=caller).options(**options)
    getattr(handle, method).remote()
    assert caller.policies == [expected]


def test_a_second_copy_of_what_may_run_once_only_is_refused() -> None:
    """By the first call, which knows the method."""
    handle = DeploymentHandle(_stub(Counted), caller=InMemoryCaller(Counted()))
    with pytest.raises(OptionError, match="hedge_after_s may run a call twice"):
        handle.options(hedge_after_s=1).add.remote()
    with pytest.raises(OptionError, match="hedge_after_s may run a call twice"):
        handle.options(hedge_after_s=1, idempotent=False)


def test_a_handle_can_be_copied(handle: DeploymentHandle) -> None:
    """Deeply as well, where Ray Serve's cannot."""
    for copied in (copy.copy(handle), copy.deepcopy(handle)):
        assert copied.stub == handle.stub
        assert repr(copied) == repr(handle) == "DeploymentHandle(deployment='Cart')"


def test_a_handle_tells_whom_it_calls(handle: DeploymentHandle) -> None:
    """Deployment, application and both together."""
    assert (handle.deployment_name, handle.app_name) == ("Cart", "shop")
    assert handle.deployment_id == DeploymentID("shop", "Cart")


def test_a_handle_works_from_any_thread(handle: DeploymentHandle) -> None:
    """No loop, no setup."""
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(handle.remote("tea").result()))
    thread.start()
    thread.join(10)
    assert results == ["tea"]


def test_without_a_mesh_a_call_says_what_to_do() -> None:
    """An unpickled handle in a plain process has nobody to call through."""
    with pytest.raises(NotServingError, match=r"call serve\.run\(app\) before using a handle"):
        DeploymentHandle(_stub()).remote("tea")


def test_each_request_from_outside_has_an_id_of_its_own(
    handle: DeploymentHandle, caller: InMemoryCaller
) -> None:
    """And the response knows it."""
    first, second = handle.remote("tea"), handle.remote("tea")
    assert [first.request_id, second.request_id] == [c.request_id for c in caller.contexts]
    assert first.request_id != second.request_id
    assert {context.app_name for context in caller.contexts} == {"shop"}


def test_calls_inside_of_a_request_belong_to_it(
    handle: DeploymentHandle, caller: InMemoryCaller
) -> None:
    """Request id, route and session go on; the model id is of one call only."""
    parent = RequestContext(
        request_id="r1",
        route="/shop",
        app_name="outer",
        session_id="s1",
        multiplexed_model_id="m1",
    )
    with _serving(parent):
        response = handle.remote("tea")
        handle.options(session_id="s2", multiplexed_model_id="m2").remote("tea")
    assert response.request_id == "r1"
    assert caller.contexts == [
        RequestContext(request_id="r1", route="/shop", app_name="shop", session_id="s1"),
        RequestContext(
            request_id="r1",
            route="/shop",
            app_name="shop",
            session_id="s2",
            multiplexed_model_id="m2",
        ),
    ]


@pytest.mark.parametrize(
    ("parent_s", "own_s", "expected_s"),
    [(None, None, None), (None, 50, 50), (100, None, 100), (100, 50, 50), (50, 100, 50)],
)
def test_the_earlier_deadline_counts(
    handle: DeploymentHandle,
    caller: InMemoryCaller,
    parent_s: float | None,
    own_s: float | None,
    expected_s: float | None,
) -> None:
    """A call may shorten the time its request has left, never extend it."""
    deadline = None if parent_s is None else time.monotonic() + parent_s
    with _serving(RequestContext(request_id="r1", deadline=deadline)):
        handle.options(timeout_s=own_s).remote("tea")
    left = caller.contexts[0].time_left()
    assert left is None if expected_s is None else left == pytest.approx(expected_s, abs=10)
