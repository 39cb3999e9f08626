"""An ingress that answers each path with another kind of value."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

from meshgen import serve
from meshgen.errors import BackPressureError
from meshgen.serve.handle import DeploymentHandle


class Item(BaseModel):
    name: str
    price: float


@dataclass
class Point:
    x: int
    y: int


VALUES: dict[str, Any] = {
    "str": "¡Hola!",
    "bytes": b"\0raw",
    "none": None,
    "dict": {"a": [1, None, True]},
    "list": [1, 2],
    "int": 3,
    "pydantic": Item(name="tea", price=1.5),
    "dataclass": Point(1, 2),
    "nested": {"items": [Item(name="tea", price=1.5)], "at": Point(1, 2)},
    "numpy": np.arange(4).reshape(2, 2),
    "scalar": np.float64(0.5),
    "unserialisable": object(),
}


@serve.deployment
class Letters:
    def spell(self, word: str) -> Iterator[str]:
        yield from word

    async def endless(self) -> AsyncIterator[str]:
        while True:
            yield "x"
            await asyncio.sleep(0.001)

    def overloaded(self) -> None:
        raise BackPressureError("too many")


@serve.deployment
class Web:
    def __init__(self, letters: DeploymentHandle) -> None:
        self.letters = letters

    async def __call__(self, request: Request) -> Any:
        name = request.url.path.rpartition("/")[2]
        if name in VALUES:
            return VALUES[name]
        return await getattr(self, f"answer_{name.replace('-', '_')}")(request)

    async def answer_request(self, request: Request) -> Any:
        return {
            "method": request.method,
            "path": request.url.path,
            "query": dict(request.query_params),
            "header": request.headers.get("x-mine"),
            "body": (await request.body()).decode(),
            "request_id": request.headers.get("x-request-id"),
        }

    async def answer_json(self, request: Request) -> Any:
        return JSONResponse(await request.json(), status_code=201, headers={"x-mine": "yes"})

    async def answer_size(self, request: Request) -> int:
        return len(await request.body())

    async def answer_large(self, request: Request) -> bytes:
        return b"x" * int(request.query_params["size"])

    async def answer_redirect(self, request: Request) -> Response:
        return RedirectResponse("/elsewhere")

    async def answer_teapot(self, request: Request) -> Response:
        return Response("short and stout", status_code=418, media_type="text/x-tea")

    async def answer_stream(self, request: Request) -> Response:
        words = self.letters.options(stream=True).spell.remote("hola")
        return StreamingResponse(words, media_type="text/event-stream")

    async def answer_generator(self, request: Request) -> Any:
        return (f"{number}\n" for number in range(3))

    async def answer_breaks(self, request: Request) -> Response:
        async def broken() -> AsyncIterator[str]:
            yield "first"
            raise ValueError("secret detail")

        return StreamingResponse(broken())

    async def answer_error(self, request: Request) -> None:
        raise ValueError("secret detail")

    async def answer_exit(self, request: Request) -> None:
        raise SystemExit("secret detail")

    async def answer_overloaded(self, request: Request) -> None:
        await self.letters.overloaded.remote()

    async def answer_slow(self, request: Request) -> None:
        await asyncio.Event().wait()


@serve.deployment
class Bare:
    """Takes no request."""

    def __call__(self) -> str:
        return "no request needed"


@serve.deployment
async def function(request: Request) -> str:
    return f"you asked for {request.url.path}"


app = Web.bind(Letters.bind())
