"""What sync and async clients share: one RPC, and how a call is made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from ._fields import Field
from ._messages import message_class
from ._unset import UNSET

T = TypeVar("T")
Metadata = Mapping[str, "str | bytes"]

_LARGEST = 64 * 1024 * 1024


@dataclass(frozen=True)
class Method(Generic[T]):
    """One RPC of a service, and how its messages are written and read."""

    service: str
    rpc: str
    parameters: Sequence[Field]
    result: Field | None

    @property
    def path(self) -> str:
        """As gRPC has it."""
        return f"/{self.service}/{self.rpc}"

    def request(self, values: Mapping[str, Any]) -> Any:
        """The message with these values; those that are UNSET are left out."""
        message = self._request_class()
        for field in self.parameters:
            value = values[field.python]
            if value is not UNSET:
                field.put(message, value)
        return message

    def read(self, message: Any) -> T:
        """A response's value."""
        value: T = None if self.result is None else self.result.get(message)  # type: ignore[assignment]  # T is None then
        return value

    @cached_property
    def response_class(self) -> Any:
        """The class of its responses."""
        return self._class("Response")

    @cached_property
    def _request_class(self) -> Any:
        return self._class("Request")

    def _class(self, part: str) -> Any:
        package = self.service.rpartition(".")[0]
        return message_class(f"{package}.{self.rpc}{part}")


@dataclass(frozen=True)
class Settings:
    """How a client's calls are made."""

    target: str
    token: str | None = None
    tls: bool = False
    root_certificates: bytes | None = None
    timeout: float | None = None
    options: tuple[tuple[str, Any], ...] = ()

    def channel_options(self) -> list[tuple[str, Any]]:
        """Large messages, and what was given."""
        sizes = ("grpc.max_receive_message_length", "grpc.max_send_message_length")
        return [*((name, _LARGEST) for name in sizes), *self.options]

    def call_metadata(self, given: Metadata | None) -> tuple[tuple[str, str | bytes], ...]:
        """What travels with a call: the token, and what was given."""
        token = {"authorization": f"Bearer {self.token}"} if self.token else {}
        pairs: Iterable[tuple[str, str | bytes]] = {**token, **(given or {})}.items()
        return tuple((name.lower(), value) for name, value in pairs)

    def call_timeout(self, given: float | None, default: float | None) -> float | None:
        """How long a call may take; infinity is for no limit."""
        timeout = default if given is None else given
        return None if timeout is None or math.isinf(timeout) else timeout
