"""The typed RPCs of a replica at its own port, beside the generic ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status

from meshgen.errors import RequestCancelledError
from meshgen.naming import grpc_service
from meshgen.runtime.clientstatus import name_of, status_of, trailers
from meshgen.runtime.replica import Replica
from meshgen.runtime.rpcrequest import read_request

Context = Any
Admit = Callable[[Context], Awaitable[None]]


class TypedHandlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    """Finds the handler of a path; what is typed is read from the hints by the first RPC.

    `admit` takes a slot, or ends the RPC.
    """

    def __init__(self, replica: Replica, admit: Admit) -> None:
        self._replica = replica
        self._admit = admit
        self._prefix = f"/{grpc_service(replica.stub.id.app, replica.stub.id.name)}/"
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of an RPC; None if it is not typed."""
        path: str = details.method
        found = self._handlers.get(path)
        if found is not None or not path.startswith(self._prefix):
            return found
        converter = self._replica.code.typed.by_path.get(path)
        if converter is None:
            return None
        if converter.streams:
            found = grpc.unary_stream_rpc_method_handler(partial(self._stream, converter.method))
        else:
            found = grpc.unary_unary_rpc_method_handler(partial(self._call, converter.method))
        self._handlers[path] = found
        return found

    async def _call(self, method: str, message: bytes, context: Context) -> bytes:
        replica = self._replica
        replica.enter_context()
        await self._admit(context)
        request = read_request(context, replica.stub.id.app, is_served=True)
        try:
            return await replica.code.typed.call(method, message, request)
        except BaseException as exc:  # noqa: B036 - user code: SystemExit too is an error to its caller
            await abort(context, exc, request.request_id)
            raise  # which that did, if with another error
        finally:
            replica.occupancy.release()

    async def _stream(self, method: str, message: bytes, context: Context) -> AsyncIterator[bytes]:
        replica = self._replica
        replica.enter_context()
        await self._admit(context)
        request = read_request(context, replica.stub.id.app, is_served=True)
        try:
            async with aclosing(replica.code.typed.stream(method, message, request)) as items:
                async for item in items:
                    yield item
        except GeneratorExit:
            raise
        except BaseException as exc:  # noqa: B036 - user code, as above
            await abort(context, exc, request.request_id)
        finally:
            replica.occupancy.release()


async def abort(context: Context, error: BaseException, request_id: str) -> None:
    """End an RPC with what its client may know of an error.

    Raises:
        BaseException: What ends the RPC.
    """
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        if task is None or task.cancelling():  # the client is gone
            raise error
        error = RequestCancelledError("the user's code was cancelled")
    status = status_of(error, request_id)
    await abort_with(context, status)


async def abort_with(context: Context, status: Status) -> None:
    """End an RPC with a status.

    Raises:
        BaseException: What ends the RPC.
    """
    code = getattr(grpc.StatusCode, name_of(status))
    await context.abort(code, status.message, trailing_metadata=trailers(status))
