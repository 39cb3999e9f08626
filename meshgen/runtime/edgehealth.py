"""grpc.health.v1 of the gateway: it serves, and so do the services that it knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from meshgen.runtime.edgetable import CurrentTable
from meshgen.runtime.reflection import HEALTH

_Response = health_pb2.HealthCheckResponse
# How soon who watches hears of a service that came or went, in seconds.
_PERIOD = 1.0


class EdgeHealth:
    """Answers for the whole, which has the empty name, and for each service."""

    def __init__(self, table: CurrentTable) -> None:
        self._table = table
        self._leaving = asyncio.Event()

    def leave(self) -> None:
        """The gateway takes its leave: who watches is told, and the watching ends."""
        self._leaving.set()

    def handler(self) -> grpc.GenericRpcHandler:
        """The handler of both RPCs."""
        coders = (health_pb2.HealthCheckRequest.FromString, _Response.SerializeToString)
        rpcs = {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, *coders),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, *coders),
        }
        return grpc.method_handlers_generic_handler(HEALTH, rpcs)

    def _status(self, service: str) -> Any:
        if service and service not in self._table().services:
            return _Response.SERVICE_UNKNOWN
        return _Response.NOT_SERVING if self._leaving.is_set() else _Response.SERVING

    async def _check(self, request: Any, context: Any) -> Any:
        status = self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no service of that name is served here")
        return _Response(status=status)

    async def _watch(self, request: Any, _: Any) -> AsyncIterator[Any]:
        told = None
        while True:
            leaving = self._leaving.is_set()
            status = self._status(request.service)
            if status != told:
                told = status
                yield _Response(status=status)
            if leaving:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), _PERIOD)
