"""An application as its author wrote it for Ray Serve: nothing in here knows of meshgen."""

import asyncio

import ray
from ray import serve
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponse, DeploymentResponseGenerator
from starlette.requests import Request


class TooMuchError(RayServeException):
    pass


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
class Adder:
    def __init__(self, increment: int):
        self.increment = increment

    async def add(self, number: int) -> int:
        if number > 100:
            raise TooMuchError(f"{number} is too much")
        return number + self.increment


@serve.deployment
class Counter:
    async def count(self, limit: int):
        for number in range(limit):
            yield number


@ray.remote(num_cpus=0.1)
def double(number: int) -> int:
    return 2 * number


@ray.remote
class Tally:
    def __init__(self, start: int):
        self.total = start

    async def add(self, number: int) -> int:
        if number > 100:
            raise TooMuchError(f"{number} is too much")
        self.total += number
        return self.total


@serve.deployment
class Ingress:
    def __init__(self, adder: DeploymentHandle, counter: DeploymentHandle):
        self.adder = adder
        self.counter = counter.options(stream=True)
        assert isinstance(adder, ray.serve.handle.DeploymentHandle)

    async def __call__(self, request: Request) -> dict:
        if "tasks" in request.query_params:
            return await self.by_tasks(int(request.query_params["tasks"]))
        return await self.compute(int(request.query_params["number"]))

    async def compute(self, number: int) -> dict:
        try:
            response: DeploymentResponse = self.adder.add.remote(number)
            assert isinstance(response, DeploymentResponse)
            chained: DeploymentResponse = self.adder.add.remote(response)
            return {"sum": await chained, "items": await self.items(number)}
        except TooMuchError as exc:
            return {"refused": str(exc)}

    async def by_tasks(self, number: int) -> dict:
        ref = await self.adder.add.remote(number)._to_object_ref()
        tally = Tally.options(name="tally", get_if_exists=True).remote(10)
        await tally.add.remote(double.remote(ref))
        try:
            total = await ray.get_actor("tally").add.remote(double.remote(number))
        except TooMuchError as exc:
            return {"refused": str(exc)}
        ray.kill(tally)
        try:
            await tally.add.remote(1)
        except ray.exceptions.RayActorError:
            return {"total": total}

    async def items(self, limit: int) -> list[int]:
        generator: DeploymentResponseGenerator = self.counter.count.remote(limit)
        return [number async for number in generator]


app = Ingress.bind(Adder.bind(2), Counter.bind())


def build(arguments: dict[str, str]):
    return Ingress.bind(Adder.bind(int(arguments["increment"])), Counter.bind())


async def ask(handle: DeploymentHandle) -> dict:
    return await handle.compute.remote(3)


if __name__ == "__main__":
    handle = serve.run(app, route_prefix=None)
    print("awaited", asyncio.run(ask(handle)))
    print("result", handle.compute.remote(101).result())
    refs = [double.remote(number) for number in range(3)]
    ready, _ = ray.wait(refs, num_returns=3)
    assert isinstance(refs[0], ray.ObjectRef) and len(ready) == 3
    print("tasks", ray.get(refs), handle.by_tasks.remote(3).result())
    serve.shutdown()
