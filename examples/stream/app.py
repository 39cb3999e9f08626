"""Streams a countdown over HTTP, line by line, as another deployment makes it."""

import asyncio
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle, DeploymentResponseGenerator

LONGEST = 1000


@serve.deployment
class Counter:
    async def count_down(self, start: int, pause_s: float = 0.0) -> AsyncIterator[int]:
        for number in range(start, 0, -1):
            yield number
            await asyncio.sleep(pause_s)


@serve.deployment
class Ingress:
    def __init__(self, counter: DeploymentHandle) -> None:
        self.counter = counter.options(stream=True)

    async def __call__(self, request: Request) -> Response:
        try:
            start = int(request.query_params.get("start", "5"))
        except ValueError:
            start = -1
        if not 0 <= start <= LONGEST:
            return PlainTextResponse(f"Ask with 0 to {LONGEST}: /?start=5\n", status_code=400)
        return StreamingResponse(self.lines(start), media_type="text/plain")

    async def lines(self, start: int) -> AsyncIterator[str]:
        numbers: DeploymentResponseGenerator[int] = self.counter.count_down.remote(
            start, pause_s=0.1
        )
        async for number in numbers:
            yield f"{number}\n"
        yield "lift-off\n"


app = Ingress.bind(Counter.bind())
