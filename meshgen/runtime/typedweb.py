"""Typed RPCs at the gateway's HTTP port: as JSON, as gRPC-Web, and what describes them."""

from __future__ import annotations

from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.grpcweb import GrpcWeb, is_grpc_web
from meshgen.runtime.jsoncall import JsonCalls


class TypedWeb:
    """Answers the requests that typed methods answer; all others are for the ingresses."""

    def __init__(self, descriptors: Descriptors, caller: MeshCaller) -> None:
        self._json = JsonCalls(descriptors, caller)
        self._grpc_web = GrpcWeb(descriptors.table, caller)

    async def answer(self, exchange: Exchange) -> bool:
        """Answer a request, if it is one of these; whether it was."""
        if exchange.path == "/-/openapi.json":
            await self._json.describe(exchange)
        elif exchange.path == "/-/docs":
            await self._json.show(exchange)
        elif is_grpc_web(exchange):
            await self._grpc_web.answer(exchange)
        elif (rpc := self._json.find(exchange)) is not None:
            await self._json.answer(exchange, rpc)
        else:
            return False
        return True
