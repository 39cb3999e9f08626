"""A typed RPC called for an HTTP client: ended when that leaves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.edge import taken
from meshgen.runtime.edgetable import ExposedRpc
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.typedcall import MessageItems, MessageReply
from meshgen.types import RequestContext


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpCall:
    """A call of an RPC that an exchange asks for."""

    exchange: Exchange
    caller: MeshCaller
    rpc: ExposedRpc
    request: RequestContext

    async def response(self, message: bytes) -> bytes:
        """The response of a unary RPC.

        Raises:
            MeshError: It failed.
        """
        rpc, reply = self.rpc, MessageReply()
        self.caller.submit_typed(rpc.stub, rpc.method, message, self.request, reply, rpc.policy)
        async with self._watching(reply):
            response: bytes = await reply
            return response

    async def responses(self, message: bytes) -> AsyncGenerator[bytes, None]:
        """Those of a streaming RPC.

        Raises:
            MeshError: It failed.
        """
        rpc, items = self.rpc, MessageItems()
        self.caller.open_typed_stream(rpc.stub, rpc.method, message, self.request, items)
        try:
            async with self._watching(items):
                async for item in taken(items):
                    yield item
        finally:
            items.cancel()

    @asynccontextmanager
    async def _watching(self, call: MessageReply | MessageItems) -> AsyncIterator[None]:
        """Cancel the call if its client leaves before the block ends."""
        watch = asyncio.ensure_future(self.exchange.cancel_when_client_leaves(call))
        try:
            yield
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)


def http_call(
    exchange: Exchange, caller: MeshCaller, rpc: ExposedRpc, timeout: float | None
) -> HttpCall:
    """A call with what the headers of its request say."""
    model = exchange.header("serve_multiplexed_model_id") or exchange.header("multiplexed_model_id")
    request = RequestContext(
        request_id=exchange.request_id,
        route=rpc.app.route_prefix or "",
        app_name=rpc.app.name,
        multiplexed_model_id=model,
        session_id=exchange.header("session_id"),
        deadline=None if timeout is None else time.monotonic() + timeout,
    )
    return HttpCall(exchange=exchange, caller=caller, rpc=rpc, request=request)
