"""`meshgen.put`, `meshgen.get` and `meshgen.wait`: values by reference."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any, TypeVar, overload

from meshgen.errors import OptionError, OptionTypeError
from meshgen.objectref import ObjectRef
from meshgen.reply import Reply, refuse_in_event_loop
from meshgen.serve.context import current_caller
from meshgen.serve.response import DeploymentResponse

T = TypeVar("T")


def put(value: T) -> ObjectRef[T]:
    """Keep a value and return a reference to it; it stays for as long as a reference lives.

    A small one travels inside of its reference, a large one is fetched from here by who needs it.

    Raises:
        SerializationError: It cannot be pickled.
        NotServingError: No mesh runs here.
    """
    if isinstance(value, ObjectRef):
        raise OptionTypeError("meshgen.put takes a value, and this is an ObjectRef already")
    reply = Reply()
    current_caller().put(value, reply)
    return ObjectRef(reply)


@overload
def get(refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(refs: Sequence[ObjectRef[Any]], *, timeout: float | None = None) -> list[Any]: ...
def get(refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a reference or response, or a list of the values of several, in their order.

    Blocks until all are there; `timeout` is in seconds, for all together.

    Raises:
        BlockingCallError: An event loop runs in this thread; `await` the reference instead.
        DeadlineError: They did not come in time.
        ObjectLostError: A value is gone.
        Exception: Whatever the call that should have made a value raised.
    """
    refuse_in_event_loop("meshgen.get(ref)", "await ref")
    end = None if timeout is None else time.monotonic() + timeout
    if not isinstance(refs, Sequence):
        return _reply(refs).wait(timeout)
    return [_reply(ref).wait(_left(end)) for ref in refs]


def _left(end: float | None) -> float | None:
    return None if end is None else max(0.0, end - time.monotonic())


def _reply(ref: Any) -> Reply:
    if isinstance(ref, ObjectRef):
        return ref.reply
    if isinstance(ref, DeploymentResponse):
        return ref
    raise OptionTypeError(f"expected an ObjectRef or a DeploymentResponse, got {ref!r}")


Ref = TypeVar("Ref", bound="ObjectRef[Any] | DeploymentResponse[Any]")


def wait(
    refs: Sequence[Ref], *, num_returns: int = 1, timeout: float | None = None
) -> tuple[list[Ref], list[Ref]]:
    """Those references that are ready and those that are not, in their order.

    Returns as soon as `num_returns` are ready, or after `timeout` seconds with fewer. A call that
    failed is ready, too. At most `num_returns` are told as ready.

    Raises:
        BlockingCallError: An event loop runs in this thread; use `asyncio.wait` there.
        OptionTypeError: `refs` is no list of references.
        OptionError: `num_returns` is not between 1 and the number of references, or one of them
            is there twice.
    """
    refuse_in_event_loop("meshgen.wait(refs)", "asyncio.wait(...)")
    if not isinstance(refs, Sequence):
        raise OptionTypeError(f"meshgen.wait takes a list of references, got {refs!r}")
    if not 1 <= num_returns <= len(refs):
        raise OptionError(
            f"num_returns must be between 1 and the number of references, {len(refs)}, "
            f"got {num_returns}"
        )
    replies = [_reply(ref) for ref in refs]
    if len(set(map(id, replies))) != len(replies):
        raise OptionError("meshgen.wait got a reference twice")
    _wait_for(replies, num_returns, timeout)
    ready = [place for place, reply in enumerate(replies) if reply.done][:num_returns]
    return (
        [refs[place] for place in ready],
        [ref for place, ref in enumerate(refs) if place not in set(ready)],
    )


def _wait_for(replies: Sequence[Reply], count: int, timeout: float | None) -> None:
    """Block until so many have ended; none is given up afterwards."""
    arrived = threading.Semaphore(0)
    end = None if timeout is None else time.monotonic() + timeout
    for reply in replies:
        reply.join(arrived.release)
    try:
        for _ in range(count):
            if not arrived.acquire(timeout=_left(end)):
                return
    finally:
        for reply in replies:
            reply.leave(arrived.release)
