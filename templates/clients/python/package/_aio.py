"""The same calls for asyncio."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc.aio  # type: ignore[import-untyped, import-not-found, unused-ignore]

from ._methods import Metadata, Method, Settings

T = TypeVar("T")
_EOF = vars(grpc.aio)["EOF"]  # pyright's stubs of gRPC do not have it


class AsyncStream(AsyncIterator[T], Generic[T]):
    """The values of a streaming call as they arrive. Ending its `async with` block cancels it."""

    def __init__(self, call: Any, method: Method[T]) -> None:
        self._call = call
        self._method = method

    async def __anext__(self) -> T:
        message = await self._call.read()
        if message is _EOF:
            raise StopAsyncIteration
        return self._method.read(message)

    def cancel(self) -> None:
        """Tell the service that nobody waits any more."""
        self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class AsyncChannel:
    """A connection, and what is called over it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._opened: Any = None
        self._stubs: dict[str, Any] = {}

    async def unary(
        self,
        method: Method[T],
        values: Mapping[str, Any],
        timeout: float | None,
        metadata: Metadata | None,
    ) -> T:
        """Call and wait for the result."""
        settings = self._settings
        stub = self._stub(self._channel.unary_unary, method)
        return method.read(
            await stub(
                method.request(values),
                timeout=settings.call_timeout(timeout, settings.timeout),
                metadata=settings.call_metadata(metadata),
            )
        )

    def stream(
        self,
        method: Method[T],
        values: Mapping[str, Any],
        timeout: float | None,
        metadata: Metadata | None,
    ) -> AsyncStream[T]:
        """Call and iterate over what comes."""
        settings = self._settings
        stub = self._stub(self._channel.unary_stream, method)
        call = stub(
            method.request(values),
            timeout=settings.call_timeout(timeout, None),
            metadata=settings.call_metadata(metadata),
        )
        return AsyncStream(call, method)

    async def close(self) -> None:
        """End the connection and all calls."""
        if self._opened is not None:
            await self._opened.close()

    @property
    def _channel(self) -> Any:
        # Opened by the first call: gRPC binds it to the loop that runs then.
        if self._opened is None:
            self._opened = _open(self._settings)
        return self._opened

    def _stub(self, make: Any, method: Method[T]) -> Any:
        if method.path not in self._stubs:
            self._stubs[method.path] = make(
                method.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=method.response_class.FromString,
            )
        return self._stubs[method.path]


class AsyncClient:
    """Connects when the first call is made. Use it in `async with`, or `await` its `close`."""

    def __init__(
        self,
        target: str,
        *,
        token: str | None = None,
        tls: bool = False,
        root_certificates: bytes | None = None,
        timeout: float | None = 60.0,
        options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Take a target such as `localhost:9000`.

        Args:
            target: Where the gateway serves gRPC.
            token: Sent as a bearer token with every call.
            tls: Whether to encrypt, trusting this machine's certificate authorities.
            root_certificates: The authorities to trust instead, as PEM; encrypts, too.
            timeout: Seconds that a call may take, but for streams; None for no limit.
            options: For gRPC's own channel.
        """
        self._channel = AsyncChannel(
            Settings(
                target=target,
                token=token,
                tls=tls or root_certificates is not None,
                root_certificates=root_certificates,
                timeout=timeout,
                options=tuple(options),
            )
        )

    async def close(self) -> None:
        """End the connection and all calls."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _open(settings: Settings) -> Any:
    options = settings.channel_options()
    if not settings.tls:
        return grpc.aio.insecure_channel(settings.target, options=options)
    credentials = grpc.ssl_channel_credentials(settings.root_certificates)
    return grpc.aio.secure_channel(settings.target, credentials, options=options)
