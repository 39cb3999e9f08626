"""References to values: notes that pickling leaves, and references that are pickled by hand."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from meshgen.errors import NotServingError, SerializationError
from meshgen.objectref import ByValue, ObjectRef, Passed, this_thread
from meshgen.reply import Kept, Reply
from meshgen.serve.context import scoped_caller
from meshgen.types import DeploymentID, Payload, Token

TOKEN = Token(DeploymentID("shop", "Cart"), "unix:/there.sock", "v1")


class Elsewhere:
    """A value at a replica."""

    payload: Payload | None = None
    error: BaseException | None = None

    def __init__(self, token: Token = TOKEN) -> None:
        self.token = token
        self.asked: list[Reply] = []

    def fetch(self, reply: Reply) -> None:
        """Note who wants it."""
        self.asked.append(reply)


class Borrower:
    """A process's caller, as far as references are loaded there."""

    def borrow(self, token: Token) -> Kept:
        """A value of that token."""
        return Elsewhere(token)


@contextmanager
def _mesh() -> Iterator[None]:
    caller: Any = Borrower()
    outer = scoped_caller.set(caller)
    try:
        yield
    finally:
        scoped_caller.reset(outer)


@contextmanager
def _noting() -> Iterator[dict[tuple[int, bool], Passed]]:
    found: dict[tuple[int, bool], Passed] = {}
    this_thread.found = found
    try:
        yield found
    finally:
        this_thread.found = None


@contextmanager
def _arriving(*passed: Passed) -> Iterator[None]:
    this_thread.arriving = passed
    try:
        yield
    finally:
        this_thread.arriving = ()


def _decode(payload: Payload) -> Any:
    return pickle.loads(payload.pickle, buffers=payload.buffers)


def _here(value: Any) -> ObjectRef[Any]:
    reply = Reply()
    reply.resolve(Payload(pickle.dumps(value)), _decode)
    return ObjectRef(reply)


def _there(kept: Kept | None = None) -> ObjectRef[Any]:
    reply = Reply()
    reply.leave_at(kept or Elsewhere())
    return ObjectRef(reply)


async def test_a_reference_is_awaited_like_its_response() -> None:
    """Any number of times."""
    ref = _here([1])
    assert await ref is await ref


async def test_awaiting_brings_a_value_here() -> None:
    """Only then, and once."""
    kept = Elsewhere()
    ref = _there(kept)
    assert kept.asked == []
    waiting = ref.__await__()
    next(waiting)
    assert kept.asked == [ref.reply]
    waiting.close()
    assert not ref.reply.cancelled()


def test_its_id_shows_as_soon_as_it_has_one() -> None:
    """It is what one sees when debugging."""
    assert repr(_there()) == "ObjectRef(v1)" and _there().hex() == "v1"
    assert repr(ObjectRef(Reply())) == "ObjectRef(pending)"
    assert ObjectRef(Reply()).hex() == ""


def test_references_to_one_response_are_equal() -> None:
    """So they find each other in sets and dicts, even while they have no id."""
    reply = Reply()
    assert ObjectRef(reply) == ObjectRef(reply)
    assert len({ObjectRef(reply), ObjectRef(reply), ObjectRef(Reply())}) == 2
    assert ObjectRef(reply) != ObjectRef(Reply())
    assert ObjectRef(reply) != reply


def test_a_response_in_a_pickle_leaves_its_place() -> None:
    """However it is nested, and the same one once."""
    one: ObjectRef[Any] = ObjectRef(Reply())
    other: ObjectRef[Any] = ObjectRef(Reply())
    with _noting() as found:
        data = pickle.dumps({"a": [one, other], "b": (one, ObjectRef(other.reply))})
    assert list(found.values()) == [Passed(one.reply, False), Passed(other.reply, False)]
    first, second = Reply(), Reply()
    with _arriving(Passed(first, False), Passed(second, False)):
        value = pickle.loads(data)
    assert [ref.reply for ref in (*value["a"], *value["b"])] == [first, second, first, second]


def test_a_value_and_a_reference_of_one_response_have_two_places() -> None:
    """The callee gets the one as it is and the other as an ObjectRef."""
    ref = _here("value")
    with _noting() as found:
        data = pickle.dumps((ByValue(ref.reply), ref))
    assert [each.by_value for each in found.values()] == [True, False]
    with _arriving(*found.values()):
        value, again = pickle.loads(data)
    assert value == "value" and again == ref


def test_a_mark_means_nothing_outside_of_a_call() -> None:
    """It says what to do instead."""
    with pytest.raises(SerializationError, match="use the ObjectRef that"):
        pickle.dumps(ByValue(Reply()))


def test_a_reference_pickled_by_hand_says_where_its_value_is() -> None:
    """It resolves in any process of the mesh that unpickles it."""
    data = pickle.dumps(_there())
    with _mesh():
        loaded = pickle.loads(data)
    assert isinstance(loaded, ObjectRef)
    assert loaded.reply.kept is not None and loaded.reply.kept.token == TOKEN
    assert not loaded.reply.done


def test_a_reference_by_hand_to_what_is_elsewhere_needs_a_mesh() -> None:
    """Nobody else knows the way there."""
    data = pickle.dumps(_there())
    with pytest.raises(NotServingError):
        pickle.loads(data)


def test_a_value_that_is_here_is_pickled_by_hand_as_it_is() -> None:
    """Nobody is asked for it, and no mesh is needed."""
    assert pickle.loads(pickle.dumps(_here({"a": 1}))).reply.value() == {"a": 1}


def test_out_of_band_buffers_go_along_by_hand() -> None:
    """As they came."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(pickle.PickleBuffer(b"large"), 5, buffer_callback=buffers.append)
    reply = Reply()
    reply.resolve(Payload(data, [bytes(each.raw()) for each in buffers]), _decode)
    loaded = pickle.loads(pickle.dumps(ObjectRef(reply)))
    assert bytes(loaded.reply.value()) == b"large"


def test_an_error_is_pickled_by_hand_as_it_is() -> None:
    """It is raised where it is awaited."""
    reply = Reply()
    reply.fail(KeyError("upstream"))
    with pytest.raises(KeyError, match="upstream"):
        pickle.loads(pickle.dumps(ObjectRef(reply))).reply.value()


def test_a_value_that_had_to_leave_its_replica_is_pickled_by_hand_as_it_is() -> None:
    """Where it was, nobody is left."""
    kept = Elsewhere()
    ref = _there(kept)
    kept.payload = Payload(pickle.dumps("evacuated"))
    assert pickle.loads(pickle.dumps(ref)).reply.value() == "evacuated"


def test_a_value_that_was_read_can_still_be_pickled_by_hand() -> None:
    """Reading it does not use it up."""
    ref = _here("read")
    assert ref.reply.value() == "read"
    assert pickle.loads(pickle.dumps(ref)).reply.value() == "read"


def test_a_reference_without_a_replica_cannot_be_pickled_by_hand() -> None:
    """There is nothing to say of it yet; the error says what to do."""
    with pytest.raises(SerializationError, match=r"pending\) is nowhere yet: await it first"):
        pickle.dumps(ObjectRef(Reply()))
