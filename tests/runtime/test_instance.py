"""The user's object: every kind of constructor and method, and how each is run."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import gc
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from meshgen.errors import GeneratorMismatchError, OptionError, UnknownMethodError
from meshgen.runtime.instance import Instance
from tests.runtime.replicas import settle, spec_of, until

COLOUR = contextvars.ContextVar("COLOUR", default="none")


@asynccontextmanager
async def _instance(target: Any, *args: Any, **options: Any) -> AsyncIterator[Instance]:
    instance = await Instance.construct(spec_of(target, **options), target, args, {})
    try:
        yield instance
    finally:
        instance.close()


async def _items(instance: Instance, name: str, *args: Any) -> list[Any]:
    return [item async for item in await instance.iterate(name, args, {})]


class _Later:
    """An awaitable that is no coroutine."""

    def __init__(self, value: Awaitable[Any]) -> None:
        self.value = value

    def __await__(self) -> Any:
        return self.value.__await__()


class _Kinds:
    """One method of every kind; all add one."""

    def sync(self, x: int) -> tuple[int, bool]:
        return x + 1, threading.current_thread() is threading.main_thread()

    async def on_loop(self, x: int) -> tuple[int, bool]:
        return x + 1, threading.current_thread() is threading.main_thread()

    @functools.wraps(on_loop)
    def wrapped(self, x: int) -> Any:
        return self.on_loop(x)

    def awaitable(self, x: int) -> Any:
        return _Later(self.on_loop(x))

    @staticmethod
    def static(x: int) -> tuple[int, bool]:
        return x + 1, False

    @classmethod
    async def of_class(cls, x: int) -> tuple[int, bool]:
        return x + 1, True

    part = functools.partial(max, 6)

    def __call__(self, x: int) -> tuple[int, bool]:
        return self.sync(x)


@pytest.mark.parametrize(
    ("name", "on_loop"),
    [
        ("sync", False),
        ("on_loop", True),
        ("wrapped", True),
        ("awaitable", True),
        ("static", False),
        ("of_class", True),
        ("__call__", False),
    ],
)
async def test_every_kind_of_method_gives_its_result(name: str, on_loop: bool) -> None:
    """`async def` runs on the loop, `def` in a thread; what a `def` returns is awaited."""
    async with _instance(_Kinds) as instance:
        assert await instance.call(name, (5,), {}) == (6, on_loop)


async def test_a_partial_is_a_method() -> None:
    """As is anything else that can be called."""
    async with _instance(_Kinds) as instance:
        assert await instance.call("part", (5,), {}) == 6


@pytest.mark.parametrize("name", ["missing", "__init__", "__class__", "__dict__", "size", ""])
async def test_what_is_no_method_is_refused(name: str) -> None:
    """Data and the language's own methods are not for callers."""

    class Sized:
        size: Any = {"data": 1}

    async with _instance(Sized) as instance:
        with pytest.raises(UnknownMethodError, match="default/Sized has no method"):
            await instance.call(name, (), {})


async def test_a_function_is_called_whatever_the_method_is_called() -> None:
    """It has no methods."""

    def double(x: int) -> int:
        return 2 * x

    async with _instance(double) as instance:
        assert await instance.call("anything", (4,), {}) == 8


@dataclass
class _Adder:
    """A callable object that cannot be a key of a dict."""

    by: int

    async def __call__(self, x: int) -> int:
        return x + self.by


async def test_a_callable_attribute_is_a_method() -> None:
    """An object with an async `__call__` runs on the loop, hashable or not."""

    class Holder:
        add = _Adder(3)

    async with _instance(Holder) as instance:
        assert await instance.call("add", (4,), {}) == 7
        assert instance.async_method("add") is not None


async def test_methods_made_anew_at_each_look_are_not_remembered_for_ever() -> None:
    """`__getattr__` may return a new function every time."""

    class Open:
        def __getattr__(self, name: str) -> Any:
            async def method() -> str:
                return name

            return method

    async with _instance(Open) as instance:
        for number in range(3000):
            assert await instance.call(f"m{number}", (), {}) == f"m{number}"
        assert len(vars(instance)["_kinds"]) < 2000


async def test_the_context_reaches_threads() -> None:
    """A `def` method sees the context variables of its request, and keeps its own changes."""

    class Painter:
        def look(self) -> str:
            found = COLOUR.get()
            COLOUR.set("changed")
            return found

        def items(self) -> Iterator[str]:
            yield COLOUR.get()
            COLOUR.set("changed")
            yield COLOUR.get()

    COLOUR.set("red")
    async with _instance(Painter) as instance:
        assert await instance.call("look", (), {}) == "red"
        assert await _items(instance, "items") == ["red", "changed"]
        assert COLOUR.get() == "red"


async def test_calls_of_plain_methods_run_side_by_side() -> None:
    """As many as the replica takes."""
    meet = threading.Barrier(3, timeout=10)

    class Meeting:
        def join(self) -> int:
            return meet.wait()

    async with _instance(Meeting, max_ongoing_requests=3) as instance:
        found = await asyncio.gather(*(instance.call("join", (), {}) for _ in range(3)))
        assert sorted(found) == [0, 1, 2]


class _Generators:
    """A generator of every kind."""

    def sync(self, n: int) -> Iterator[int]:
        yield from range(n)

    async def on_loop(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i

    def returned(self, n: int) -> Any:
        return self.sync(n)

    async def awaited(self, n: int) -> Any:
        return self.on_loop(n)

    def one(self) -> int:
        return 1

    async def one_on_loop(self) -> int:
        return 1


@pytest.mark.parametrize("name", ["sync", "on_loop", "returned", "awaited"])
@pytest.mark.parametrize("count", [0, 1, 1000])
async def test_every_kind_of_generator_gives_its_items(name: str, count: int) -> None:
    """In order, whether the method is one or returns one."""
    async with _instance(_Generators) as instance:
        assert await _items(instance, name, count) == list(range(count))


@pytest.mark.parametrize("name", ["sync", "on_loop", "returned", "awaited"])
async def test_a_unary_call_of_a_generator_is_refused(name: str) -> None:
    """The message says how to call it."""
    async with _instance(_Generators) as instance:
        with pytest.raises(GeneratorMismatchError, match=rf"stream=True\).{name}.remote"):
            await instance.call(name, (3,), {})


@pytest.mark.parametrize("name", ["one", "one_on_loop"])
async def test_a_streaming_call_of_a_unary_method_is_refused(name: str) -> None:
    """The message says what it returned."""
    async with _instance(_Generators) as instance:
        with pytest.raises(GeneratorMismatchError, match="returned int, not a generator"):
            await instance.iterate(name, (), {})


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
@pytest.mark.parametrize("name", ["sync", "on_loop"])
async def test_any_exception_comes_back_as_itself(error: BaseException, name: str) -> None:
    """`SystemExit` does not end a thread silently."""

    class Failing:
        def sync(self) -> None:
            raise error

        async def on_loop(self) -> None:
            raise error

    async with _instance(Failing) as instance:
        with pytest.raises(type(error)) as caught:
            await instance.call(name, (), {})
        assert caught.value is error


@pytest.mark.parametrize("name", ["sync", "on_loop"])
async def test_stop_iteration_is_a_runtime_error(name: str) -> None:
    """Raised as itself it would end whoever iterates."""

    class Stopping:
        def sync(self) -> None:
            raise StopIteration(1)

        async def on_loop(self) -> None:
            raise StopIteration(1)

    async with _instance(Stopping) as instance:
        with pytest.raises(RuntimeError, match="StopIteration"):
            await instance.call(name, (), {})


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3)])
async def test_an_error_of_a_plain_generator_comes_after_its_items(error: BaseException) -> None:
    """None of them is lost."""

    class Failing:
        def items(self) -> Iterator[int]:
            yield 1
            yield 2
            raise error

    async with _instance(Failing) as instance:
        found = []
        with pytest.raises(type(error)):
            async for item in await instance.iterate("items", (), {}):
                found.append(item)
        assert found == [1, 2]


async def test_items_of_a_plain_generator_do_not_wait_for_the_next_one() -> None:
    """What was yielded arrives although the generator now waits for something."""
    taken = threading.Event()

    class Waiting:
        def items(self) -> Iterator[str]:
            yield "first"
            yield "second"
            yield "third" if taken.wait(10) else "too late"

    async with _instance(Waiting) as instance:
        items = await instance.iterate("items", (), {})
        assert [await anext(items), await anext(items)] == ["first", "second"]
        taken.set()
        assert await anext(items) == "third"


async def test_a_plain_generator_is_closed_when_it_is_abandoned() -> None:
    """Its `finally` runs, in its own context, and not on the loop."""
    closed: Future[tuple[str, bool]] = Future()

    class Counting:
        def items(self) -> Iterator[int]:
            COLOUR.set("mine")
            try:
                while True:
                    yield 1
            finally:
                on_loop = threading.current_thread() is threading.main_thread()
                closed.set_result((COLOUR.get(), on_loop))

    async with _instance(Counting) as instance:
        items: Any = await instance.iterate("items", (), {})
        await anext(items)
        await items.aclose()
        assert await asyncio.wrap_future(closed) == ("mine", False)


async def test_an_abandoned_plain_generator_is_closed_after_its_step() -> None:
    """A thread that is inside of it comes out first; until then its slot is taken."""
    entered, leave = threading.Event(), threading.Event()
    order: list[str] = []
    held: list[Future[Any]] = []

    class Slow:
        def items(self) -> Iterator[int]:
            try:
                entered.set()
                leave.wait(10)
                order.append("step")
                yield 1
            finally:
                order.append("finally")

    async with _instance(Slow) as instance:
        instance.threads.on_abandoned = held.append
        items: Any = await instance.iterate("items", (), {})
        waiting = asyncio.create_task(anext(items))
        await until(entered.is_set)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert len(held) == 1 and not held[0].done()
        leave.set()
        await asyncio.wrap_future(held[0])
        assert order == ["step", "finally"]


async def test_a_failing_finally_of_an_abandoned_generator_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody is left to be told, and its slot comes back nevertheless."""
    held: list[Future[Any]] = []

    class Failing:
        def items(self) -> Iterator[int]:
            try:
                while True:
                    yield 1
            finally:
                raise ValueError("in finally")

    async with _instance(Failing) as instance:
        instance.threads.on_abandoned = held.append
        items: Any = await instance.iterate("items", (), {})
        await anext(items)
        await items.aclose()
        await asyncio.wrap_future(held[0])
    assert "in finally" in caplog.text


async def test_a_cancelled_plain_call_is_held_until_its_thread_ends() -> None:
    """No thread can be stopped; one that has not begun never does."""
    leave = threading.Event()
    held: list[Future[Any]] = []
    ran: list[str] = []

    class Slow:
        def work(self, name: str) -> None:
            ran.append(name)
            leave.wait(10)

    async with _instance(Slow, max_ongoing_requests=1) as instance:
        instance.threads.on_abandoned = held.append
        calls = [asyncio.create_task(instance.call("work", (n,), {})) for n in ("first", "second")]
        await until(lambda: bool(ran))
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert len(held) == 1 and not held[0].done()
        leave.set()
        await asyncio.wrap_future(held[0])
        await settle()
    assert ran == ["first"]


async def test_a_constructor_may_be_async() -> None:
    """It is awaited before the first call."""

    class Slow:
        async def __init__(self, x: int = 0) -> None:  # type: ignore[misc]
            await asyncio.sleep(0)
            self.x = x

        async def get(self) -> int:
            return self.x

    async with _instance(Slow, 4) as instance:
        assert await instance.call("get", (), {}) == 4


async def test_a_class_may_make_its_own_objects() -> None:
    """`__new__` is honoured; what it returns of another class is not initialised again."""

    class Other:
        def __init__(self) -> None:
            self.made = 1

        def get(self) -> int:
            return self.made

    class Made:
        def __new__(cls) -> Any:
            other = Other()
            other.made = 2
            return other

        def get(self) -> int:
            return 0

    async with _instance(Made) as instance:
        assert await instance.call("get", (), {}) == 2


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_users_configuration_is_handed_over(kind: str) -> None:
    """`reconfigure` runs after the constructor, sync or async."""

    class Sync:
        def reconfigure(self, config: dict[str, int]) -> None:
            self.config = config

        def get(self) -> dict[str, int]:
            return self.config

    class Async(Sync):
        async def reconfigure(self, config: dict[str, int]) -> None:  # type: ignore[override]
            self.config = config

    target = Sync if kind == "sync" else Async
    async with _instance(target, user_config={"a": 1}) as instance:
        assert await instance.call("get", (), {}) == {"a": 1}


async def test_a_configuration_that_nobody_takes_is_refused() -> None:
    """The message names the deployment and the method."""

    class Plain:
        def get(self) -> int:
            return 0

    spec = spec_of(Plain)
    # A build refuses it; an object may hide its methods from that.
    spec = replace(spec, options=replace(spec.options, user_config={"a": 1}))
    with pytest.raises(OptionError, match=r"default/Plain has a user_config .* reconfigure"):
        await Instance.construct(spec, Plain, (), {})


def _deleting(kind: str, deleted: list[str]) -> Any:
    class Sync:
        def __del__(self) -> None:
            deleted.append("sync")

    class Async:
        async def __del__(self) -> None:
            await asyncio.sleep(0)
            deleted.append("async")

    class Slotted(Sync):
        __slots__ = ("x",)

    class Builtin(dict[str, int]):
        def __del__(self) -> None:
            deleted.append("builtin")

    return {"sync": Sync, "async": Async, "slotted": Slotted, "builtin": Builtin}[kind]


@pytest.mark.parametrize("kind", ["sync", "async", "slotted", "builtin"])
async def test_del_runs_once(kind: str) -> None:
    """When the replica goes, and not again when the interpreter drops the object."""
    deleted: list[str] = []
    target = _deleting(kind, deleted)
    async with _instance(target) as instance:
        await instance.finalize()
    del instance
    gc.collect()
    assert deleted == ["sync" if kind == "slotted" else kind]


async def test_an_object_without_del_is_let_go_in_peace() -> None:
    """There is nothing to run."""
    async with _instance(_Kinds) as instance:
        await instance.finalize()


async def test_the_object_itself_is_there_for_the_replicas_context() -> None:
    """User code finds itself by it."""
    async with _instance(_Kinds) as instance:
        assert isinstance(instance.target, _Kinds)


async def test_threads_end_with_the_instance() -> None:
    """Nothing is left running."""
    before = set(threading.enumerate())
    async with _instance(_Kinds) as instance:
        await asyncio.gather(*(instance.call("sync", (n,), {}) for n in range(20)))
        # By their name: threads of others come and go as they like.
        started = [each for each in threading.enumerate() if each.name.startswith("_Kinds")]
        assert set(started) - before
    await until(lambda: not any(each.is_alive() for each in started))
