"""What a call returns: a value to come, or a stream of them."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
from typing import Any

import pytest

from meshgen.errors import (
    BlockingCallError,
    DeadlineError,
    GeneratorMismatchError,
    MeshError,
    NotServingError,
    RequestCancelledError,
    SerializationError,
)
from meshgen.serve.response import DeploymentResponse, DeploymentResponseGenerator
from meshgen.types import Payload


def _decode(payload: Payload) -> Any:
    return pickle.loads(payload.pickle)


def _payload(value: Any) -> Payload:
    return Payload(pickle.dumps(value))


def _response() -> DeploymentResponse[Any]:
    return DeploymentResponse("r1")


def _stream(*items: int, open_end: bool = False) -> DeploymentResponseGenerator[int]:
    stream: DeploymentResponseGenerator[int] = DeploymentResponseGenerator("r1")
    stream.items.put([_payload(item) for item in items], _decode)
    if not open_end:
        stream.items.end()
    return stream


def test_a_result_is_there_again_and_again() -> None:
    """`.result()` is repeatable and gives the same object."""
    response = _response()
    response.resolve(_payload([1]), _decode)
    assert response.result() is response.result(timeout_s=0)


def test_result_takes_its_timeout_by_keyword() -> None:
    """As in Ray Serve."""
    untyped: Any = _response()
    with pytest.raises(TypeError, match="positional"):
        untyped.result(1)
    with pytest.raises(DeadlineError):
        untyped.result(timeout_s=0)


async def test_result_is_refused_on_a_loop() -> None:
    """A RuntimeError that says what to write."""
    with pytest.raises(BlockingCallError, match="use `await response` instead") as caught:
        _response().result()
    assert isinstance(caught.value, RuntimeError)


def test_its_state_shows() -> None:
    """In `repr`, which is what one sees when debugging."""
    response = _response()
    assert repr(response) == "DeploymentResponse(request_id='r1', pending)"
    response.resolve(_payload(1), _decode)
    assert repr(response) == "DeploymentResponse(request_id='r1', done)"
    cancelled = _response()
    cancelled.cancel()
    assert repr(cancelled) == "DeploymentResponse(request_id='r1', cancelled)"
    assert bool(response)


_BY_HAND = {"response": "use the ObjectRef that", "stream": "cannot be passed"}


@pytest.mark.parametrize("made", [_response(), _stream(1)], ids=["response", "stream"])
@pytest.mark.parametrize("send", [pickle.dumps, copy.copy, copy.deepcopy])
def test_neither_can_be_pickled_or_copied_by_hand(made: Any, send: Any) -> None:
    """They belong to this process; both a MeshError and a TypeError."""
    told = _BY_HAND["response" if isinstance(made, DeploymentResponse) else "stream"]
    with pytest.raises(SerializationError, match=told) as caught:
        send([made] if send is copy.deepcopy else made)
    assert isinstance(caught.value, MeshError) and isinstance(caught.value, TypeError)


def test_a_stream_is_iterated_once() -> None:
    """`for`, `list` and `next`; then it is exhausted."""
    stream = _stream(1, 2, 3)
    assert next(stream) == 1
    assert list(stream) == [2, 3]
    assert list(stream) == []


async def test_a_stream_is_iterated_on_a_loop() -> None:
    """`async for`; the blocking way is refused there."""
    stream = _stream(1, 2)
    with pytest.raises(BlockingCallError, match="async for item in response"):
        next(stream)
    assert [item async for item in stream] == [1, 2]


async def test_a_stream_cannot_be_awaited_or_asked_for_one_result() -> None:
    """Both are TypeErrors that name the way."""
    stream = _stream(1)
    with pytest.raises(GeneratorMismatchError, match="cannot be awaited: use `async for"):
        await stream
    with pytest.raises(TypeError, match=r"has no result\(\)"):
        stream.result(timeout_s=1)


async def test_a_cancelled_stream_stops_its_producer() -> None:
    """The consumer gets the error at the next item."""
    stream, told = _stream(1, open_end=True), list[int]()
    stream.items.on_cancel = lambda: told.append(1)
    assert not stream.cancelled()
    stream.cancel()
    stream.cancel()
    assert stream.cancelled()
    with pytest.raises(RequestCancelledError):
        await anext(stream)
    assert told == [1]


async def test_a_stream_left_by_break_stops_its_producer() -> None:
    """Else it would wait for a reader forever, and keep its slot of the replica."""
    stream, told = _stream(1, 2, open_end=True), list[int]()
    stream.items.on_cancel = lambda: told.append(1)
    items = stream.items
    async for _ in stream:
        break
    assert told == []
    del stream
    gc.collect()
    assert told == [1]
    await asyncio.wait_for(items.drained(), 10)


def test_a_finished_stream_that_is_dropped_tells_nobody() -> None:
    """There is nothing to stop."""
    stream, told = _stream(1), list[int]()
    stream.items.on_cancel = lambda: told.append(1)
    del stream
    gc.collect()
    assert told == []


def test_a_stream_dropped_after_shutdown_is_silent() -> None:
    """The interpreter would print an error that nobody can catch."""

    def refuse() -> None:
        raise NotServingError("shut down")

    stream = _stream(1, open_end=True)
    stream.items.on_cancel = refuse
    del stream
    gc.collect()
