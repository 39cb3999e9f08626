"""A new generation takes the place of the old one, replica by replica, with no call lost."""

from __future__ import annotations

import asyncio

from meshgen.deploy.application import LocalApplication
from meshgen.deploy.child import Child
from meshgen.deploy.generation import Generation, Service, until_running
from meshgen.serve.schema import ReplicaState
from meshgen.stub import DeploymentStub

# From when a replica runs until another may leave, in seconds: callers look for new ones ten times
# a second, and have to connect.
_FOUND = 0.3


class Rollout:
    """Replaces the replicas of an application. `try_out` first, then `replace`, then `finish`.

    Where a deployment's methods have changed, callers of before fit its old replicas only and those
    of now the new ones: both run in full number as long as there are both kinds of callers.
    """

    def __init__(self, app: LocalApplication, new: Generation, changed: asyncio.Condition) -> None:
        self._app = app
        self._old = app.generations
        self._new = new
        self._changed = changed

    async def try_out(self) -> None:
        """Start one replica of each deployment, and all of those that have no old ones that fit.

        Raises:
            DeployError: A constructor failed; nothing of before was touched.
        """
        children: list[Child] = []
        for service in self._new.services:
            if self._replaceable(service):
                children.append(service.start_next())
            else:
                children += service.start_all()
        await self._until_running(children)

    async def replace(self) -> None:
        """Start the others one by one, and let an old replica go for each that runs.

        Raises:
            DeployError: A constructor failed; what runs by then goes on.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for service in self._new.services:
                    if self._replaceable(service):
                        group.create_task(self._replace(service))
        except BaseExceptionGroup as failed:
            # One constructor's error says enough.
            raise failed.exceptions[0] from None

    async def finish(self) -> None:
        """Let what is left of before go, callers before what they call."""
        await self._app.retired()
        for generation in self._old:
            for service in reversed(generation.services):
                for child in list(service.children):
                    self._app.retire(child)
                await self._app.retired()

    async def _replace(self, service: Service) -> None:
        old = self._old_children(service)
        await asyncio.sleep(_FOUND)
        while service.waiting:
            self._retire(old, keep=len(service.waiting))
            await self._until_running([service.start_next()])
            await asyncio.sleep(_FOUND)
        self._retire(old, keep=0)

    def _retire(self, old: list[Child], keep: int) -> None:
        """Let old replicas go until so many are left."""
        while len(old) > keep:
            self._app.retire(old.pop(0))

    def _old_children(self, service: Service) -> list[Child]:
        """The old replicas of a deployment, those that do not run first."""
        found = [each for generation in self._old for each in generation.services]
        children = [c for each in found if each.name == service.name for c in each.children]
        return sorted(children, key=lambda child: child.state is ReplicaState.RUNNING)

    def _replaceable(self, service: Service) -> bool:
        """Whether there are old replicas, which fit whoever calls the new ones."""
        old = [generation.service(service.name) for generation in self._old]
        stubs = [each.spec.stub for each in old if each is not None and each.children]
        return bool(stubs) and all(fits(stub, service.spec.stub) for stub in stubs)

    async def _until_running(self, children: list[Child]) -> None:
        await until_running(self._new.spec.name, children, self._changed)


def fits(one: DeploymentStub, other: DeploymentStub) -> bool:
    """Whether replicas of both can answer the same callers."""
    return _signature(one) == _signature(other)


def _signature(stub: DeploymentStub) -> object:
    methods = {name: (m.streams, m.parameters) for name, m in stub.methods.items()}
    return methods, stub.is_function, stub.open_ended
