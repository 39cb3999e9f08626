"""Turns away RPCs without a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from meshgen.runtime.reflection import HEALTH
from meshgen.runtime.tokengate import NEEDED, TokenGate


class GuardedHandlers(grpc.GenericRpcHandler):  # type: ignore[misc]  # gRPC has no types
    """The handlers of a server, for who brings a token. Health is everybody's."""

    def __init__(self, gate: TokenGate, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self._gate = gate
        self._handlers = handlers

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of an RPC, or one that refuses it before it is read."""
        is_health = details.method.startswith(f"/{HEALTH}/")
        if not is_health and not self._gate.admits(_authorization(details)):
            return grpc.stream_stream_rpc_method_handler(_refuse)
        found = (handler.service(details) for handler in self._handlers)
        return next((each for each in found if each is not None), None)


def _authorization(details: grpc.HandlerCallDetails) -> str:
    given = [value for key, value in details.invocation_metadata if key == "authorization"]
    return given[0] if len(given) == 1 and isinstance(given[0], str) else ""


async def _refuse(_: Any, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNAUTHENTICATED, NEEDED)
