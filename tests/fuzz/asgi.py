"""The gateway as an ASGI server calls it, held to what ASGI and HTTP ask of an answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from starlette.types import ASGIApp, Message

from meshgen.runtime.edgedescriptors import Descriptors
from meshgen.runtime.edgetable import CurrentTable
from meshgen.runtime.protection import UNGUARDED, Protection
from meshgen.runtime.typedweb import TypedWeb
from meshgen.runtime.webgateway import make_app
from tests.fuzz.mesh import Mesh

# A client that has so many pieces of an answer leaves.
_MOST_PIECES = 30
_HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request; `leaves` says that its client is gone once that was sent."""

    path: str
    method: str = "POST"
    headers: Headers = ()
    query: bytes = b""
    chunks: Sequence[bytes] = (b"",)
    leaves: bool = False


@dataclass(kw_only=True)
class Answer:
    """What was sent back so far."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    complete: bool = False
    left: bool = False

    @property
    def body(self) -> bytes:
        """All of it."""
        return b"".join(self.pieces)

    def take(self, message: Message) -> None:
        """One message of the application: the head, then pieces, then nothing."""
        assert not self.complete, "something came after the end"
        if message["type"] == "http.response.start":
            assert not self.status
            self.status = message["status"]
            self.headers = dict(message["headers"])
            assert 200 <= self.status <= 599
            for name, value in message["headers"]:
                assert _HEADER.fullmatch(name) and not re.search(rb"[\r\n\0]", value)
        else:
            assert message["type"] == "http.response.body" and self.status
            self.pieces.append(message.get("body", b""))
            self.complete = not message.get("more_body", False)


def application(mesh: Mesh, protection: Protection = UNGUARDED) -> ASGIApp:
    """The gateway of a mesh."""
    descriptors = Descriptors(CurrentTable(mesh.caller.mesh), mesh.mesh_file)
    typed = TypedWeb(descriptors, mesh.caller)
    return make_app(mesh.caller.mesh, mesh.caller, typed, protection)


async def ask(app: ASGIApp, asked: Asked) -> Answer:
    """The answer to a request, which is complete unless its client left."""
    answer, gone = Answer(), asyncio.Event()
    sent = list(asked.chunks) or [b""]

    async def receive() -> Message:
        if sent:
            chunk = sent.pop(0)
            more = bool(sent) or asked.leaves
            return {"type": "http.request", "body": chunk, "more_body": more}
        if not asked.leaves:
            await gone.wait()
        answer.left = True
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.take(message)
        if answer.complete or len(answer.pieces) >= _MOST_PIECES:
            gone.set()
        await asyncio.sleep(0)  # as a connection does; so a client that left is noticed

    scope = {
        "type": "http",
        "method": asked.method,
        "path": asked.path,
        "query_string": asked.query,
        "headers": list(asked.headers),
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 9),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    assert answer.complete or answer.left
    # A browser's question whether it may ask has none.
    assert not answer.status or answer.headers.get(b"x-request-id") or asked.method == "OPTIONS"
    if answer.complete and b"content-length" in answer.headers:
        assert int(answer.headers[b"content-length"]) == len(answer.body)
    return answer
