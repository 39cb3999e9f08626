"""One HTTP request and the head of its answer, as they travel between gateway and replica.

The gateway calls `HTTP_METHOD` of the ingress as a stream. Its items are one `HttpHead`, then the
body in chunks of bytes. An empty chunk says that the body is complete although the stream goes on:
a background task of the response still runs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pickle import PickleBuffer
from typing import Any, TypeAlias

HTTP_METHOD = "__http__"

HeaderList: TypeAlias = tuple[tuple[bytes, bytes], ...]
Address: TypeAlias = tuple[str, int | None]

# A body from here on is pickled out of band: not copied into the pickle.
_OUT_OF_BAND = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A whole request. `path` is the full path; `root_path` the part that is the route prefix."""

    method: str
    path: str
    raw_path: bytes = b""
    root_path: str = ""
    query_string: bytes = b""
    headers: HeaderList = ()
    client: Address | None = None
    server: Address | None = None
    scheme: str = "http"
    http_version: str = "1.1"
    body: bytes = b""

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        apart = protocol >= 5 and len(self.body) >= _OUT_OF_BAND
        body = PickleBuffer(self.body) if apart else self.body
        return _request, (*(getattr(self, name) for name in _FIELDS), body)


_FIELDS = tuple(field.name for field in fields(HttpRequest))[:-1]


def _request(*values: Any) -> HttpRequest:
    *plain, body = values
    # Out of band, the body comes back as whatever buffer the transport holds it in.
    return HttpRequest(**dict(zip(_FIELDS, plain, strict=True)), body=bytes(body))


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHead:
    """Status and headers of an answer."""

    status: int
    headers: HeaderList = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return _head, (self.status, self.headers)


def _head(status: int, headers: HeaderList) -> HttpHead:
    return HttpHead(status=status, headers=headers)
