"""New `user_config`s for replicas that go on running."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from meshgen.deploy.child import Child
from meshgen.deploy.codestamp import CodeStamp
from meshgen.deploy.folder import rewrite_service
from meshgen.deploy.generation import Generation, Service
from meshgen.errors import DeployError
from meshgen.serve.schema import ReplicaState
from meshgen.spec import ServiceSpec

# What a replica gets to take up its new configuration, in seconds.
_PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconfiguration:
    """The deployments that get another `user_config`, and what their replicas are told now."""

    app: str
    changes: Sequence[tuple[Service, ServiceSpec]]

    async def carry_out(self, changed: asyncio.Condition) -> None:
        """Tell the replicas one by one; if one cannot take it, all get back what they had.

        Raises:
            DeployError: A `reconfigure` failed, with its traceback, or did not end.
        """
        told: list[Child] = []
        try:
            for service, spec in self.changes:
                edition = rewrite_service(spec, service.folder)
                for child in list(service.children):
                    told.append(child)
                    await self._tell(child, edition, changed)
        except BaseException:
            self._take_back(told)
            raise
        for service, spec in self.changes:
            service.spec = spec

    async def _tell(self, child: Child, edition: str, changed: asyncio.Condition) -> None:
        name = child.command.name
        try:
            async with asyncio.timeout(_PATIENCE), changed:
                await changed.wait_for(lambda: child.state is ReplicaState.RUNNING)
                restarts = child.restarts
                child.hang_up()
                await changed.wait_for(lambda: _has_taken_it(child, restarts, edition))
        except TimeoutError:
            raise DeployError(
                f"application {self.app!r} keeps its user_config: {name} did not take up another "
                f"within {_PATIENCE:g} s. {child.trouble}".rstrip()
            ) from None
        if error := child.facts.get("reconfigure_error"):
            child.last_error = f"{name} could not be reconfigured:\n{error}"
            raise DeployError(
                f"application {self.app!r} keeps its user_config: {child.last_error.rstrip()}"
            )

    def _take_back(self, told: Sequence[Child]) -> None:
        for service, _ in self.changes:
            rewrite_service(service.spec, service.folder)
        for child in told:
            if child.state is ReplicaState.RUNNING:
                child.hang_up()


def _has_taken_it(child: Child, restarts: int, edition: str) -> bool:
    if child.state is not ReplicaState.RUNNING:
        return False
    # One that was started anew has read it in its constructor. One that still takes up what was
    # before, as after a deploy that failed, tells of that first.
    return child.restarts != restarts or child.facts.get("reconfigured") == edition


def find_reconfiguration(
    current: Generation, services: Sequence[ServiceSpec], stamp: CodeStamp
) -> Reconfiguration | None:
    """How these services can be had without a restart, if nothing but `user_config`s is new.

    None as well where that is not sure: files of the program were written since, say. And None if
    nothing is new at all: who deploys nevertheless knows of what cannot be seen from here.
    """
    if len(services) != len(current.services) or current.stamp != stamp:
        return None
    pairs = list(zip(current.services, services, strict=True))
    if not all(_differ_by_config(old.spec, new) for old, new in pairs):
        return None
    changes = [(old, new) for old, new in pairs if old.spec != new]
    # There is no call that would take a configuration away, be it because of an error.
    configs = [spec.options.user_config for old, new in changes for spec in (old.spec, new)]
    if not changes or None in configs:
        return None
    return Reconfiguration(app=current.spec.name, changes=changes)


def _differ_by_config(old: ServiceSpec, new: ServiceSpec) -> bool:
    options = replace(new.options, user_config=old.options.user_config)
    return replace(new, options=options) == old
