"""`ObjectRef`, a value that may be elsewhere; and how references travel inside of pickles.

Pickling needs no scan for responses: one that is pickled leaves a note here, and its place in the
list of notes in the pickle. Unpickling puts in that place what arrived under that number.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, NamedTuple, TypeVar

from meshgen.errors import SerializationError
from meshgen.reply import Reply
from meshgen.types import DeploymentID, Payload, Token

# What is to come of a narrower type will do where a wider one is asked for.
T = TypeVar("T", covariant=True)


class Passed(NamedTuple):
    """A response that is passed on: the value itself, or by reference."""

    reply: Reply
    by_value: bool


class _ThisThread(threading.local):
    # What the value being pickled refers to, by identity; None where nobody takes note.
    found: dict[tuple[int, bool], Passed] | None = None
    # What the value being unpickled refers to.
    arriving: Sequence[Passed] = ()
    # Whether what is pickled are arguments of a call that takes streams.
    composes = False


this_thread = _ThisThread()
# Threads that have pickled a reference where nobody took note: by hand, or in a first attempt that
# is then repeated with notes. Looking here is all that pickling without references costs.
by_hand: set[int] = set()


@contextmanager
def composing() -> Iterator[None]:
    """Let streams be among the arguments of the calls that this thread makes."""
    outer, this_thread.composes = this_thread.composes, True
    try:
        yield
    finally:
        this_thread.composes = outer


Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


def leave_note(reply: Reply, *, by_value: bool = False) -> Reduced:
    """What `__reduce__` of something that stands for a reply returns.

    Raises:
        SerializationError: Nobody takes note: this is no argument and no result of a call.
    """
    found = this_thread.found
    if found is None:
        raise SerializationError(
            "a DeploymentResponse can be pickled as an argument or result of a call only; "
            "elsewhere use the ObjectRef that `await response._to_object_ref()` gives"
        )
    key = (id(reply), by_value)
    place = list(found).index(key) if key in found else len(found)
    found.setdefault(key, Passed(reply, by_value))
    return arrived, (place,)


def arrived(place: int) -> Any:
    """What stands in that place; called by unpickling."""
    passed = this_thread.arriving[place]
    return passed.reply.value() if passed.by_value else ObjectRef(passed.reply)


class ByValue:
    """Marks an argument that the callee gets the value of."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __reduce__(self) -> Reduced:
        return leave_note(self._reply, by_value=True)


class ObjectRef(Generic[T]):
    """A value that may still be made, and may be elsewhere: `await` it, or `meshgen.get` it.

    Passed to a call as an argument of its own it becomes its value; inside of another argument it
    stays a reference. The value is kept for as long as a reference to it lives in some process.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply

    def __await__(self) -> Generator[Any, None, T]:
        return self._reply.look()

    @property
    def reply(self) -> Reply:
        """Where its value arrives."""
        return self._reply

    def hex(self) -> str:
        """The value's id, where it has one already; it is a key to the value."""
        return "" if self._reply.kept is None else self._reply.kept.token.value_id

    def __reduce__(self) -> Reduced:
        if this_thread.found is not None:
            return leave_note(self._reply)
        by_hand.add(threading.get_ident())
        return _load, self._by_hand()

    def _by_hand(self) -> tuple[Any, ...]:
        """Pickled by the user: no lease goes with it, only where the value is, or the value."""
        reply = self._reply
        if reply.token is not None:
            return (tuple(reply.token),)
        if (payload := reply.payload) is not None:
            return None, bytes(payload.pickle), [bytes(b) for b in payload.buffers]
        if reply.error is not None:
            return None, pickle.dumps(reply.error), (), True
        raise SerializationError(
            f"{self!r} is nowhere yet: await it first, or wait for it by meshgen.wait([ref])"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectRef) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> int:
        return id(self._reply)

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex() or 'pending'})"


def _load(
    token: tuple[Any, ...] | None,
    data: bytes = b"",
    buffers: Sequence[bytes] = (),
    is_error: bool = False,
) -> ObjectRef[Any]:
    # Needs the process's mesh, which nothing here may import.
    from meshgen.serve.context import current_caller

    reply = Reply()
    if token is not None:
        owner, address, value_id = token
        reply.leave_at(current_caller().borrow(Token(DeploymentID(*owner), address, value_id)))
    elif is_error:
        reply.fail(pickle.loads(data))
    else:
        reply.resolve(Payload(data, buffers), _loads)
    return ObjectRef(reply)


def _loads(payload: Payload) -> Any:
    return pickle.loads(payload.pickle, buffers=payload.buffers)
