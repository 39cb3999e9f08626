"""What the gateway does with a request over HTTP: a call to an ingress, and its outcome as HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Receive, Scope, Send

from meshgen.errors import BackPressureError, DeadlineError, ProtocolError
from meshgen.items import ItemBuffer
from meshgen.runtime.cors import with_cors
from meshgen.runtime.exchange import Exchange
from meshgen.runtime.httpmessage import HTTP_METHOD, HttpHead
from meshgen.runtime.protection import UNGUARDED, Protection
from meshgen.runtime.refusal import CLIENT_CLOSED_REQUEST, refusal
from meshgen.runtime.typedweb import TypedWeb
from meshgen.runtime.webguard import HEALTH_PATH, turned_away
from meshgen.spec import MeshSpec
from meshgen.stub import DeploymentStub
from meshgen.types import Caller, RequestContext

access = logging.getLogger("meshgen.access")
logger = logging.getLogger("meshgen.gateway")


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Which ingress answers the paths under a prefix. `root_path` is empty for the prefix `/`."""

    prefix: str
    app: str
    ingress: DeploymentStub

    @property
    def root_path(self) -> str:
        """The part of a path that belongs to the route."""
        return self.prefix.rstrip("/")

    def matches(self, path: str) -> bool:
        """Whether it is the prefix itself or below it."""
        root = self.root_path
        return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


def routes_of(mesh: MeshSpec) -> tuple[Route, ...]:
    """The routes of a mesh, the longest prefix first."""
    routes = [
        Route(prefix=app.route_prefix, app=app.name, ingress=app.stubs[app.ingress])
        for app in mesh.apps.values()
        if app.route_prefix is not None
    ]
    return tuple(sorted(routes, key=lambda route: len(route.prefix), reverse=True))


def make_app(
    mesh: Callable[[], MeshSpec],
    caller: Caller,
    typed: TypedWeb | None = None,
    protection: Protection = UNGUARDED,
) -> ASGIApp:
    """The ASGI application that answers for every application of the mesh, as it is by then."""
    return with_cors(Gateway(mesh, caller, typed, protection), protection.cors_origins)


class Gateway:
    """Routes requests by prefix and relays what the ingress answers."""

    def __init__(
        self,
        mesh: Callable[[], MeshSpec],
        caller: Caller,
        typed: TypedWeb | None,
        protection: Protection,
    ) -> None:
        self._gate = protection.gate
        self._max_body = protection.limits.request_bytes
        self._typed = typed
        self._mesh = mesh
        self._caller = caller
        self._compiled: tuple[MeshSpec, tuple[Route, ...]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send, self._max_body))
        elif scope["type"] == "websocket":
            await receive()
            reason = "websockets are not supported by this gateway"
            await send({"type": "websocket.close", "code": 1011, "reason": reason})
        else:
            raise ProtocolError(f"the gateway does not speak ASGI's {scope['type']!r}")

    async def _serve(self, exchange: Exchange) -> None:
        began = time.perf_counter()
        try:
            await self._answer(exchange)
        except Exception as exc:
            await _fail(exchange, exc)
        finally:
            # After the answer has left: no client waits for the log.
            if access.isEnabledFor(logging.INFO):
                _log_access(exchange, time.perf_counter() - began)

    def _routes(self) -> tuple[Route, ...]:
        mesh = self._mesh()
        if self._compiled is None or self._compiled[0] is not mesh:
            self._compiled = (mesh, routes_of(mesh))
        return self._compiled[1]

    async def _answer(self, exchange: Exchange) -> None:
        path = exchange.path
        if await turned_away(self._gate, exchange):
            return None
        if path == HEALTH_PATH:
            return await exchange.reply(200, "success")
        if path == "/-/routes":
            table = {route.prefix: route.app for route in self._routes()}
            return await exchange.reply(200, json.dumps(table), content_type=b"application/json")
        if self._typed is not None and await self._typed.answer(exchange):
            return None
        for route in self._routes():
            if route.matches(path):
                return await self._call(exchange, route)
        await exchange.reply(
            404,
            f"Path '{path}' not found. Ping http://{exchange.host}/-/routes for available routes.",
        )

    async def _call(self, exchange: Exchange, route: Route) -> None:
        timeout = exchange.timeout
        deadline = None if timeout is None else time.monotonic() + timeout
        context = RequestContext(
            request_id=exchange.request_id,
            route=route.prefix,
            app_name=route.app,
            multiplexed_model_id=exchange.header("serve_multiplexed_model_id"),
            deadline=deadline,
        )
        request = await exchange.read(route.root_path)
        items = ItemBuffer()
        self._caller.open_stream(route.ingress, HTTP_METHOD, ((request,), {}), context, items)
        timer = None
        if (left := context.time_left()) is not None:
            timer = asyncio.get_running_loop().call_later(left, exchange.expire, items)
        try:
            await _relay(exchange, items)
        finally:
            if timer is not None:
                timer.cancel()
            items.cancel()


async def _relay(exchange: Exchange, items: ItemBuffer) -> None:
    """Pass the answer on, and stop the call as soon as the client is gone."""
    watch = asyncio.ensure_future(exchange.cancel_when_client_leaves(items))
    try:
        await exchange.start(await _head(items))
        while not exchange.complete:
            chunk = await _chunk(items)
            if exchange.ends_with(chunk):
                watch.cancel()
            await exchange.write(chunk)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
    await _drain(items)


async def _head(items: ItemBuffer) -> HttpHead:
    try:
        head: HttpHead = await items.next()
    except StopAsyncIteration:
        raise ProtocolError("the ingress ended the call without an answer") from None
    return head


async def _chunk(items: ItemBuffer) -> bytes:
    """The next chunk, empty at the end."""
    try:
        chunk: bytes = await items.next()
    except StopAsyncIteration:
        return b""
    return chunk


async def _drain(items: ItemBuffer) -> None:
    """Wait for a background task of the response, which runs on although the client has it all."""
    while True:
        try:
            await items.next()
        except StopAsyncIteration:
            return


async def _fail(exchange: Exchange, exc: Exception) -> None:
    """Answer an error; once the head has left, raise it again so that the connection breaks."""
    if exchange.client_gone:
        exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
        return
    if exchange.timed_out:
        exc = DeadlineError(f"no answer within {exchange.timeout} s")
    refused = refusal(exc, exchange.request_id)
    # Overload, or the client's own doing, needs no line for each request.
    is_ours = refused.status >= 500 and not isinstance(exc, BackPressureError)
    _log_failure(exchange, exc, logging.ERROR if is_ours else logging.INFO)
    if exchange.complete:
        return
    if exchange.started:
        raise exc
    await exchange.reply(refused.status, refused.message, headers=refused.headers)


def _log_failure(exchange: Exchange, exc: Exception, level: int) -> None:
    logger.log(
        level,
        "request %s: %s %s failed: %s: %s",
        exchange.request_id,
        exchange.method,
        exchange.target,
        type(exc).__name__,
        exc,
    )


def _log_access(exchange: Exchange, seconds: float) -> None:
    if exchange.path == HEALTH_PATH and exchange.status == 200:
        return  # probes ask every other second
    access.info(
        '%s "%s %s" %d %.1fms %s',
        exchange.client,
        exchange.method,
        exchange.target,
        exchange.status,
        seconds * 1000,
        exchange.request_id,
    )
