"""Lets a task work on what a deployment makes: the response becomes an ObjectRef on its way."""

import math

from starlette.requests import Request
from starlette.responses import PlainTextResponse

import meshgen
from meshgen import serve
from meshgen.serve.handle import DeploymentHandle

MOST = 100_000


@meshgen.remote
def sum_of_roots(numbers: list[int]) -> float:
    return sum(map(math.sqrt, numbers))


@serve.deployment
class Squares:
    def up_to(self, most: int) -> list[int]:
        return [number * number for number in range(1, most + 1)]


@serve.deployment
class Ingress:
    def __init__(self, squares: DeploymentHandle) -> None:
        self.squares = squares

    async def __call__(self, request: Request) -> PlainTextResponse:
        text = request.query_params.get("most", "")
        if not text.isascii() or not text.isdigit() or int(text) > MOST:
            return PlainTextResponse(f"Ask with 0 to {MOST}: /?most=4\n", status_code=400)
        return PlainTextResponse(f"{await self.compute(int(text)):g}\n")

    async def compute(self, most: int) -> float:
        # There as soon as the call has a replica, not when it has its result.
        squares = await self.squares.up_to.remote(most)._to_object_ref()
        # The task gets the list; it comes straight from the deployment that made it.
        total: float = await sum_of_roots.remote(squares)
        return total


app = Ingress.bind(Squares.bind())
