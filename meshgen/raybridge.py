"""Values between a mesh and a real Ray that this process is connected to, in both directions.

A response as a reference of Ray's: an actor of this process's waits for it, by a key.

    ref = actor.wait.remote(key) ───────────────▶ waits … and returns the value: that of `ref`
    the response ends: actor.tell.remote(key, value or failure) ─▲

A reference of Ray's as an argument: a `Reply` that ends with its value, like any other.

Ray is never imported here: where user code has not imported it there is nothing to bridge. Nor is
meshgen itself taken for Ray where it stands in Ray's place (`meshgen.compat`): it has no `_raylet`.
"""

from __future__ import annotations

import asyncio
import copyreg
import importlib
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from sys import modules
from traceback import format_exception
from typing import Any, NamedTuple, Protocol

from meshgen.errors import ObjectLostError, RemoteError, RemoteTraceback
from meshgen.objectref import ByValue, Reduced, by_hand, leave_note, this_thread
from meshgen.reply import Reply
from meshgen.types import new_id

# In `sys.modules` where a real Ray was imported.
REAL_RAY = "ray._raylet"

# A wait for Ray does not end by itself when Ray is shut down: how often that is looked at.
_LOOK_AGAIN_S = 1.0
# Those who wait in an asynchronous actor cost some 60 KB each; Ray would stop at 1000.
_MAX_WAITING = 1_000_000

Arguments = tuple[Sequence[Any], Mapping[str, Any]]


class Putter(Protocol):
    """Who keeps values for others: the process's caller."""

    def put_later(self, make: Callable[[], Coroutine[Any, Any, Any]], reply: Reply) -> None:
        """Keep what the coroutine returns; `reply` ends with it."""


class Session(NamedTuple):
    """This process's connection to Ray; one that was shut down and opened again is another."""

    node_id: str
    worker_id: str


def session() -> Session | None:
    """The connection to a real Ray, if there is one at this moment."""
    ray = modules.get("ray") if REAL_RAY in modules else None
    # It may be on its way: another thread imports it.
    is_initialized = getattr(ray, "is_initialized", None)
    if ray is None or is_initialized is None or not is_initialized():
        return None
    context = ray.get_runtime_context()
    return Session(context.get_node_id(), context.get_worker_id())


# ---- from the mesh to Ray


def to_ray(reply: Reply, current: Session) -> Any:
    """A `ray.ObjectRef` that ends as `reply` does. Talks to Ray: takes a moment, never long."""
    if reply.done:
        with suppress(Exception):  # then the reference has to fail, too
            return modules["ray"].put(reply.value())
    with _opening:
        bridge = _bridge(current)
    return bridge.promise(reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error on its way to those who wait for a value in Ray."""

    error: BaseException
    traceback: str


class Outcomes:
    """The actor: has each key's outcome told to who waits for it. Runs in a process of Ray's."""

    def __init__(self) -> None:
        self._told: dict[str, asyncio.Future[Sequence[Any]]] = {}

    def _outcome(self, key: str) -> asyncio.Future[Sequence[Any]]:
        # Ray starts an actor's asynchronous calls in no certain order: either may come first.
        return self._told.setdefault(key, asyncio.get_running_loop().create_future())

    async def wait(self, key: str) -> Any:
        """The value of a key, or its error raised."""
        try:
            (ref,) = await self._outcome(key)
        finally:
            del self._told[key]
        # Unpickled here, so that what fails in that fails the reference.
        outcome = await ref
        if isinstance(outcome, Failure):
            raise outcome.error from RemoteTraceback(outcome.traceback)
        return outcome

    async def tell(self, key: str, ref: Sequence[Any]) -> None:
        """The outcome of a key, which is told once; in a list, so that it is not unpickled yet."""
        self._outcome(key).set_result(ref)

    async def count(self) -> int:
        """How many keys it knows."""
        return len(self._told)


class _Bridge:
    """This process's end of the actor, which lives as long as the connection to Ray."""

    def __init__(self, current: Session) -> None:
        self._session = current
        # Ray may block for a moment, which no event loop has to wait for.
        self._thread = ThreadPoolExecutor(1, "meshgen-ray")
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        actor = modules["ray"].remote(
            num_cpus=0,
            max_concurrency=_MAX_WAITING,
            max_restarts=-1,
            # What is put here is read there without another copy.
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(
                current.node_id, soft=False
            ),
        )
        self.actor = actor(Outcomes).remote()

    def promise(self, reply: Reply) -> Any:
        """A reference of Ray's that ends as `reply` will."""
        key = new_id()
        ref = self.actor.wait.remote(key)
        reply.join(partial(self._ended, key, ref, reply))
        return ref

    def _ended(self, key: str, ref: Any, reply: Reply) -> None:
        with suppress(RuntimeError):  # the process ends, and with it what it has in Ray
            self._thread.submit(self._tell, key, ref, reply)

    def _tell(self, key: str, ref: Any, reply: Reply) -> None:
        # After `ray.shutdown()` nobody waits any more, and `ray.put` would start another Ray.
        if session() != self._session:
            return
        has_ended, _ = modules["ray"].wait([ref], timeout=0, fetch_local=False)
        if not has_ended:  # by `ray.cancel`, or with the actor's process: nobody takes it there
            self.actor.tell.remote(key, [_put(reply)])


def _put(reply: Reply) -> Any:
    put = modules["ray"].put
    try:
        return put(reply.value())
    except BaseException as exc:  # also that Ray cannot pickle the value
        text = "".join(format_exception(exc))
        try:
            return put(Failure(error=exc, traceback=text))
        except Exception:
            name = f"{type(exc).__module__}.{type(exc).__qualname__}"
            return put(Failure(error=RemoteError(name, str(exc), text), traceback=text))


# Held while the actor is made.
_opening = threading.Lock()


@lru_cache(maxsize=1)
def _bridge(current: Session) -> _Bridge:
    return _Bridge(current)


# ---- from Ray to the mesh


def notice() -> None:
    """Have references of Ray's found while arguments and results are pickled."""
    kind = getattr(modules.get("ray"), "ObjectRef", None)
    if kind is not None and kind not in copyreg.dispatch_table:
        copyreg.pickle(kind, _reduce)


def _reduce(ref: Any) -> Any:
    if this_thread.found is None:  # by hand, or it is repeated with notes
        by_hand.add(threading.get_ident())
        return ref.__reduce__()
    return _noted(ref)


def _noted(ref: Any) -> Reduced:
    # Needs the process's mesh, which nothing here may import.
    from meshgen.serve.context import current_caller

    return leave_note(_coming(ref, current_caller()))


def marked(arguments: Arguments, putter: Putter) -> Arguments:
    """Arguments with a mark in the place of each reference of Ray's: the value is meant."""
    kind = getattr(modules.get("ray"), "ObjectRef", ())
    args, kwargs = arguments
    if not any(isinstance(value, kind) for value in (*args, *kwargs.values())):
        return arguments

    def mark(value: Any) -> Any:
        return ByValue(_coming(value, putter)) if isinstance(value, kind) else value

    return tuple(map(mark, args)), {name: mark(value) for name, value in kwargs.items()}


def _coming(ref: Any, putter: Putter) -> Reply:
    """A reply that ends with the value of a reference of Ray's."""
    reply = Reply()
    putter.put_later(partial(_value_of, ref), reply)
    return reply


async def _value_of(ref: Any) -> Any:
    """The value of a reference of Ray's.

    Raises:
        ObjectLostError: Ray has lost it, or is not there any more.
        Exception: What the task raised that should have made it.
    """
    current = session()
    if current is None:
        raise ObjectLostError(f"{ref!r} has no value here: this process is not connected to Ray")
    there = asyncio.wrap_future(ref.future())
    while not (await asyncio.wait({there}, timeout=_LOOK_AGAIN_S))[0]:
        if session() != current:
            raise ObjectLostError(f"{ref!r} had no value yet when Ray was shut down")
    errors = importlib.import_module("ray.exceptions")
    try:
        return there.result()
    except errors.RayTaskError as exc:
        raise _raised_in_task(exc, errors) from RemoteTraceback(str(exc))
    except errors.RayError as exc:
        raise ObjectLostError(f"Ray cannot give the value of {ref!r}: {exc}") from exc


def _raised_in_task(error: Any, errors: Any) -> Exception:
    """What user code raised; Ray wraps it, once for each task that it failed."""
    cause = error
    while isinstance(cause, errors.RayTaskError):
        cause = cause.cause
    if isinstance(cause, Exception) and not isinstance(cause, errors.RayError):
        return cause
    # A task that is cancelled takes those along that it waits for, and one of them may be first.
    if isinstance(cause, errors.TaskCancelledError):
        return ObjectLostError(f"Ray cannot give a value that was cancelled: {error}")
    return RemoteError("ray.exceptions.RayTaskError", str(error))
