"""Computes (number + 1) * 2 by passing one deployment's response on to another."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse

from meshgen import serve
from meshgen.serve.handle import DeploymentHandle


@serve.deployment
class Adder:
    def __init__(self, increment: int) -> None:
        self.increment = increment

    def add(self, number: int) -> int:
        return number + self.increment


@serve.deployment
class Multiplier:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    def multiply(self, number: int) -> int:
        return number * self.factor


@serve.deployment
class Ingress:
    def __init__(self, adder: DeploymentHandle, multiplier: DeploymentHandle) -> None:
        self.adder = adder
        self.multiplier = multiplier

    async def __call__(self, request: Request) -> PlainTextResponse:
        try:
            number = int(request.query_params.get("number", ""))
        except ValueError:
            return PlainTextResponse("Ask with a whole number: /?number=7\n", status_code=400)
        return PlainTextResponse(str(await self.compute(number)))

    async def compute(self, number: int) -> int:
        # The first response is passed on without waiting for it.
        sum_to_come = self.adder.add.remote(number)
        result: int = await self.multiplier.multiply.remote(sum_to_come)
        return result


app = Ingress.bind(Adder.bind(1), Multiplier.bind(2))
