"""Blocking calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import grpc  # type: ignore[import-untyped, import-not-found, unused-ignore]

from ._methods import Metadata, Method, Settings

T = TypeVar("T")


class Stream(Iterator[T], Generic[T]):
    """The values of a streaming call as they arrive. Ending its `with` block cancels the call."""

    def __init__(self, call: Any, method: Method[T]) -> None:
        self._call = call
        self._method = method

    def __next__(self) -> T:
        return self._method.read(next(self._call))

    def cancel(self) -> None:
        """Tell the service that nobody waits any more."""
        self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()


class Channel:
    """A connection, and what is called over it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._channel = _open(settings)
        self._stubs: dict[str, Any] = {}

    def unary(
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
            stub(
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
    ) -> Stream[T]:
        """Call and iterate over what comes."""
        settings = self._settings
        stub = self._stub(self._channel.unary_stream, method)
        call = stub(
            method.request(values),
            timeout=settings.call_timeout(timeout, None),
            metadata=settings.call_metadata(metadata),
        )
        return Stream(call, method)

    def close(self) -> None:
        """End the connection and all calls."""
        self._channel.close()

    def _stub(self, make: Any, method: Method[T]) -> Any:
        if method.path not in self._stubs:
            self._stubs[method.path] = make(
                method.path,
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=method.response_class.FromString,
            )
        return self._stubs[method.path]


class Client:
    """Connects when the first call is made. Use it in a `with` block, or `close` it."""

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
        self._channel = Channel(
            Settings(
                target=target,
                token=token,
                tls=tls or root_certificates is not None,
                root_certificates=root_certificates,
                timeout=timeout,
                options=tuple(options),
            )
        )

    def close(self) -> None:
        """End the connection and all calls."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _open(settings: Settings) -> Any:
    options = settings.channel_options()
    if not settings.tls:
        return grpc.insecure_channel(settings.target, options)
    credentials = grpc.ssl_channel_credentials(settings.root_certificates)
    return grpc.secure_channel(settings.target, credentials, options)
