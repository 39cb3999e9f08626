"""What a replica runs for a call: its arguments opened, the user's method, its results packed."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meshgen.errors import SerializationError
from meshgen.objectref import Passed
from meshgen.runtime import codec, frames
from meshgen.runtime.arrivedstream import end_streams
from meshgen.runtime.bulk import PayloadStore
from meshgen.runtime.httpmessage import HTTP_METHOD
from meshgen.runtime.instance import Instance
from meshgen.runtime.madecalls import end_calls, end_stream
from meshgen.serve.context import current_request
from meshgen.spec import ServiceSpec
from meshgen.types import Payload, RequestContext
from meshgen.v1 import mesh_pb2 as pb

if TYPE_CHECKING:
    from meshgen.runtime.typedmethods import TypedMethods

logger = logging.getLogger("meshgen")


class UserCode:
    """Runs the methods of a constructed object. Large arguments are taken from `uploads`."""

    def __init__(
        self,
        spec: ServiceSpec,
        instance: Instance,
        target: Callable[..., Any],
        uploads: PayloadStore,
        lock_file: Path | None,
    ) -> None:
        self._spec = spec
        self._id = spec.stub.id
        self._instance = instance
        self._target = target
        self._uploads = uploads
        self.lock_file = lock_file

    async def call(self, invocation: pb.Invocation, references: Sequence[Passed] = ()) -> Payload:
        """Run a unary call that has a slot; its result pickled.

        Raises:
            BaseException: Whatever the user's method raises.
        """
        if invocation.typed:
            request = frames.read_context(invocation.context, self._id.app)
            message = self._payload(invocation.arguments).pickle
            return Payload(await self.typed.call(invocation.method, message, request))
        request, name, args, kwargs = self._open(invocation, references)
        method = self._instance.async_method(name)
        try:
            if method is None:
                return codec.encode(await self._instance.call(name, args, kwargs))
            # The common case, without the layers that the others need.
            return codec.encode(self._instance.unary(name, await method(*args, **kwargs)))
        finally:
            if request.calls:
                end_calls(request.calls)

    async def stream(
        self, invocation: pb.Invocation, references: Sequence[Passed] = ()
    ) -> AsyncIterator[Payload]:
        """Run a streaming call that has a slot; its items pickled one by one.

        Raises:
            BaseException: Whatever the user's generator raises.
        """
        if invocation.typed:
            async with aclosing(self._stream_messages(invocation)) as messages:
                async for each in messages:
                    yield each
            return
        request, method, args, kwargs = self._open(invocation, references)
        items: AsyncIterator[Any] | None = None
        try:
            if method == HTTP_METHOD:
                items = self._answer_http(args[0])
            else:
                items = await self._instance.iterate(method, args, kwargs)
            async for item in items:
                payload = codec.encode(item)
                if payload.references:
                    raise SerializationError(
                        f"{self._id}.{method} yielded something with a response in it: "
                        "await it and yield the value"
                    )
                yield payload
        finally:
            try:
                await end_stream(items, request)
            finally:
                if references:
                    end_streams(references)

    async def _answer_http(self, request: Any) -> AsyncIterator[Any]:
        # Only an ingress that HTTP reaches pays for importing Starlette.
        from meshgen.runtime.http import answer

        instance = self._instance
        stub = self._spec.stub.method("__call__")
        takes_request = stub.parameters is None or len(stub.parameters) > 0

        async def call(*args: Any) -> Any:
            return await instance.run("__call__", args, {})

        try:
            async with aclosing(answer(call, takes_request, request)) as parts:
                async for part in parts:
                    yield part
        except Exception as exc:
            # The client is told nothing of it but the request's id.
            context, text = current_request.get(), codec.format_user_traceback(exc)
            logger.error("request %s failed:\n%s", context and context.request_id, text)
            raise

    def _open(
        self, invocation: pb.Invocation, references: Sequence[Passed]
    ) -> tuple[RequestContext, str, Any, Any]:
        """Enter the request's context and unpickle its arguments."""
        request = frames.read_context(invocation.context, self._id.app)
        current_request.set(request)
        payload = self._payload(invocation.arguments)
        if references:
            payload.references = references
        args, kwargs = codec.decode(payload)
        return request, invocation.method, args, kwargs

    def _payload(self, message: pb.Payload) -> Payload:
        """Arguments that came inline, or were uploaded before."""
        if message.payload_id:
            return self._uploads.take(message.payload_id)
        return frames.read_payload(message)

    @cached_property
    def typed(self) -> TypedMethods:
        """The typed RPCs; read from the hints by the first call of one."""
        from meshgen.runtime.typedmethods import open_typed

        return open_typed(self._spec, self._target, self._instance, self.lock_file)

    async def _stream_messages(self, invocation: pb.Invocation) -> AsyncGenerator[Payload, None]:
        request = frames.read_context(invocation.context, self._id.app)
        message = self._payload(invocation.arguments).pickle
        async with aclosing(self.typed.stream(invocation.method, message, request)) as items:
            async for item in items:
                yield Payload(item)
