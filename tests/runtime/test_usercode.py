"""What a replica runs for a call, and in which context."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshgen.errors import ProtocolError, SerializationError, UnknownMethodError
from meshgen.runtime.replica import Replica
from meshgen.serve.context import current_request, get_replica_context
from meshgen.types import Payload
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.replicas import lone_replica


class _Plain:
    async def add(self, x: int) -> int:
        return x + 1

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def where(self) -> Any:
        context, request = get_replica_context(), current_request.get()
        assert request is not None
        return context.app_name, context.deployment, context.replica_id, request.request_id

    def where_in_thread(self) -> str:
        return get_replica_context().replica_tag


def _invocation(method: str, *args: Any) -> pb.Invocation:
    return pb.Invocation(
        method=method,
        arguments=pb.Payload(pickle=pickle.dumps((args, {}))),
        context=pb.Context(request_id="r1"),
    )


def _value(payload: Payload) -> Any:
    return pickle.loads(payload.pickle, buffers=payload.buffers)


async def _run(replica: Replica, method: str, *args: Any) -> Any:
    return _value(await replica.code.call(_invocation(method, *args)))


async def test_user_code_knows_where_it_runs() -> None:
    """Which replica, and which request."""
    async with lone_replica(_Plain) as replica:
        replica.enter_context()
        assert await _run(replica, "where") == ("default", "_Plain", "0", "r1")
        assert await _run(replica, "where_in_thread") == "0"


async def test_calls_run_and_streams_are_iterated() -> None:
    """Results and items come pickled."""
    async with lone_replica(_Plain) as replica:
        assert await _run(replica, "add", 4) == 5
        stream = replica.code.stream(_invocation("count", 3))
        assert [_value(item) async for item in stream] == [0, 1, 2]


async def test_a_call_that_cannot_be_read_is_an_error_of_that_call() -> None:
    """Unknown methods, broken pickles, uploads that never came."""
    async with lone_replica(_Plain) as replica:
        with pytest.raises(UnknownMethodError, match="default/_Plain has no method 'sub'"):
            await _run(replica, "sub")
        broken = pb.Invocation(method="add", arguments=pb.Payload(pickle=b"no pickle"))
        with pytest.raises(SerializationError):
            await replica.code.call(broken)
        missing = pb.Invocation(method="add", arguments=pb.Payload(payload_id="p"))
        with pytest.raises(ProtocolError, match="no payload p"):
            await replica.code.call(missing)
