"""The gateway's gRPC: typed RPCs in, calls to their deployments out, messages as they are.

Nothing that comes from outside is looked into here, and nothing of it is ever unpickled: the
replica whose method it is reads the message.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from google.rpc.status_pb2 import Status

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import InvalidValueError, RequestCancelledError
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.clientstatus import make_status, name_of, status_of
from meshgen.runtime.edgetable import CurrentTable, EdgeTable, ExposedRpc
from meshgen.runtime.rpcrequest import read_request
from meshgen.runtime.statuserror import StatusError
from meshgen.runtime.typedcall import MessageItems, MessageReply
from meshgen.runtime.typedserver import abort_with
from meshgen.types import RequestContext

access = logging.getLogger("meshgen.access")
logger = logging.getLogger("meshgen.gateway")

Context = Any
_LONGEST_PATH = 200


class SlowClientError(Exception):
    """A client that does not send its message, or does not take its answer."""


class Edge(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    """Handles every RPC that nobody else does: those of the table, and a word on all others."""

    def __init__(self, table: CurrentTable, caller: MeshCaller, limits: EdgeLimits) -> None:
        self._table = table
        self._caller = caller
        self._limits = limits
        self._handlers: dict[str, grpc.RpcMethodHandler] = {}
        self._made_for: EdgeTable | None = None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of an RPC."""
        table = self._table()
        if table is not self._made_for:
            self._handlers = {path: self._handler(rpc) for path, rpc in table.by_path.items()}
            self._made_for = table
        found = self._handlers.get(details.method)
        if found is None:
            return grpc.stream_stream_rpc_method_handler(partial(_refuse, details.method))
        return found

    def _handler(self, rpc: ExposedRpc) -> grpc.RpcMethodHandler:
        # As if the request were a stream: what gRPC reads by itself it waits for without end.
        if rpc.streams:
            return grpc.stream_stream_rpc_method_handler(partial(self._stream, rpc))
        return grpc.stream_unary_rpc_method_handler(partial(self._call, rpc))

    async def _call(self, rpc: ExposedRpc, _: Any, context: Context) -> bytes:
        began = time.perf_counter()
        request = read_request(context, rpc.stub.id.app)
        answered = "CANCELLED"
        try:
            message = await self._read(context)
            reply = MessageReply()
            self._caller.submit_typed(rpc.stub, rpc.method, message, request, reply, rpc.policy)
            response: bytes = await reply
            answered = "OK"
            return response
        except Exception as exc:  # what it says stays here
            status = told(exc, rpc, request)
            answered = name_of(status)
            await abort_with(context, status)
            raise  # which that did
        finally:
            _log_access(context, rpc, answered, request, began)

    async def _stream(self, rpc: ExposedRpc, _: Any, context: Context) -> None:
        began = time.perf_counter()
        request = read_request(context, rpc.stub.id.app)
        answered = "CANCELLED"
        items = MessageItems()
        try:
            message = await self._read(context)
            self._caller.open_typed_stream(rpc.stub, rpc.method, message, request, items)
            async for item in taken(items):
                await self._write(context, item)
            answered = "OK"
        except grpc.aio.InternalError:  # the client is gone
            raise
        except Exception as exc:  # what it says stays here
            # Before the client is told: it may take that as slowly as the rest.
            items.cancel()
            status = told(exc, rpc, request)
            answered = name_of(status)
            await abort_with(context, status)
        finally:
            items.cancel()
            _log_access(context, rpc, answered, request, began)

    async def _read(self, context: Context) -> bytes:
        """The message of a request."""
        seconds = self._limits.body_seconds
        try:
            async with asyncio.timeout(seconds):
                message = await context.read()
        except TimeoutError:
            raise SlowClientError(f"the request had no message within {seconds:g} s") from None
        if not isinstance(message, bytes):
            raise InvalidValueError("the request has no message")
        return message

    async def _write(self, context: Context, item: bytes) -> None:
        seconds = self._limits.reader_seconds
        try:
            async with asyncio.timeout(seconds):
                await context.write(item)
        except TimeoutError:
            raise SlowClientError(f"nothing of the answer was taken for {seconds:g} s") from None


async def taken(items: MessageItems) -> AsyncIterator[bytes]:
    """The messages of a stream."""
    while True:
        try:
            message: bytes = await items.next()
        except StopAsyncIteration:
            return
        yield message


def told(error: Exception, rpc: ExposedRpc, request: RequestContext) -> Status:
    """What the client is told of an error; the log has more of those that the mesh itself had."""
    if isinstance(error, SlowClientError):
        return make_status("DEADLINE_EXCEEDED", str(error), request.request_id)
    status = status_of(error, request.request_id)
    if not isinstance(error, StatusError):
        logger.log(
            logging.INFO if isinstance(error, RequestCancelledError) else logging.ERROR,
            "request %s: %s failed: %s: %s",
            *(request.request_id, rpc.path, type(error).__name__, error),
        )
    return status


async def _refuse(path: str, _: Any, context: Context) -> None:
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        f"{path[:_LONGEST_PATH]} is not served here; reflection tells what is, for example by "
        "`grpcurl -plaintext HOST:PORT list`",
    )


def _log_access(
    context: Context, rpc: ExposedRpc, answered: str, request: RequestContext, began: float
) -> None:
    if access.isEnabledFor(logging.INFO):
        access.info(
            '%s "gRPC %s" %s %.1fms %s',
            _unquoted(context.peer()),
            rpc.path,
            answered,
            (time.perf_counter() - began) * 1000,
            request.request_id,
        )


def _unquoted(peer: str) -> str:
    """`ipv4:127.0.0.1:999` as HTTP's log has it."""
    return unquote(peer.partition(":")[2])
