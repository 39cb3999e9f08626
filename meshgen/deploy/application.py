"""One application of a local mesh: its replicas of now, and those of before that still run."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from meshgen.deploy.child import Child
from meshgen.deploy.generation import Generation
from meshgen.serve.schema import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    ReplicaState,
    ReplicaStatus,
)
from meshgen.spec import AppSpec


@dataclass
class LocalApplication:
    """Owns the replicas of one application.

    `current` is the generation that the rest of the mesh is told of. Beside it there is another
    while an application is replaced, or where that came to a halt.
    """

    current: Generation
    others: list[Generation] = field(default_factory=list)
    status: ApplicationStatus = ApplicationStatus.DEPLOYING
    message: str = ""
    deployed_at: float = field(default_factory=time.time)
    # Replicas that finish what they have begun.
    _retiring: dict[Child, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def spec(self) -> AppSpec:
        """The application as the rest of the mesh sees it."""
        return self.current.spec

    @property
    def generations(self) -> list[Generation]:
        """All of which something may run, that of now first."""
        return [self.current, *self.others]

    def children(self, deployment: str | None = None) -> list[Child]:
        """The processes of all generations, of one deployment or of all."""
        services = (service for each in self.generations for service in each.services)
        wanted = (s for s in services if deployment in (None, s.name))
        return [child for service in wanted for child in service.children]

    def names(self) -> list[str]:
        """The deployments, callees first; those that are gone from the code are last."""
        services = [service for each in self.generations for service in each.services]
        return list(dict.fromkeys(s.name for s in services if s.children or s.waiting))

    def adopt(self, new: Generation) -> None:
        """Make one of the other generations the one of now."""
        self.others.remove(new)
        self.others.insert(0, self.current)
        self.current = new
        self.deployed_at = time.time()

    def retire(self, child: Child) -> None:
        """Let a replica finish what it has begun, and go."""
        if child not in self._retiring:
            child.leave()
            task = asyncio.get_running_loop().create_task(child.stop())
            self._retiring[child] = task
            task.add_done_callback(lambda _: self._gone(child))

    def _gone(self, child: Child) -> None:
        self._retiring.pop(child, None)
        for generation in self.generations:
            for service in generation.services:
                if child in service.children:
                    service.children.remove(child)

    async def retired(self) -> None:
        """Wait until those that leave have left."""
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)

    async def stop(self, *, at_once: bool = False) -> None:
        """Stop callers before what they call, so that running requests can finish.

        All time to drain begins now: replicas that hang hold each other up by seconds only.
        """
        self.status = ApplicationStatus.DELETING
        began = time.monotonic()
        for name in self._callers_first():
            spent = time.monotonic() - began
            children = self.children(name)
            await asyncio.gather(*(child.stop(at_once=at_once, spent=spent) for child in children))

    def _callers_first(self) -> Iterator[str]:
        for generation in self.generations:
            yield from (service.name for service in reversed(generation.services))

    def overview(self) -> ApplicationStatusOverview:
        """How it is."""
        deployments = {name: deployment_status(self.children(name)) for name in self.names()}
        healthy = all(d.status is DeploymentStatus.HEALTHY for d in deployments.values())
        running = self.status is ApplicationStatus.RUNNING
        return ApplicationStatusOverview(
            status=ApplicationStatus.UNHEALTHY if running and not healthy else self.status,
            message=self.message,
            last_deployed_time_s=self.deployed_at,
            route_prefix=self.spec.route_prefix,
            deployments=deployments,
        )


def deployment_status(children: Sequence[Child]) -> DeploymentStatusOverview:
    """How the replicas of a deployment are."""
    states = Counter(child.state.value for child in children)
    troubles = [child.trouble for child in children if child.trouble]
    if states["FAILED"]:
        status = DeploymentStatus.DEPLOY_FAILED
    elif troubles:
        status = DeploymentStatus.UNHEALTHY
    elif states["RUNNING"] == len(children):
        status = DeploymentStatus.HEALTHY
    else:
        status = DeploymentStatus.UPDATING
    return DeploymentStatusOverview(
        status=status,
        message=troubles[0] if troubles else "",
        replica_states=dict(states),
        replicas=tuple(_replica_status(child) for child in children),
    )


def _replica_status(child: Child) -> ReplicaStatus:
    facts = child.facts if child.state is ReplicaState.RUNNING else {}
    return ReplicaStatus(
        replica_id=child.command.name,
        state=child.state,
        pid=child.pid,
        restarts=child.restarts,
        last_error=child.last_error,
        ongoing_requests=facts.get("ongoing", 0),
        health_failures=facts.get("health_failures", 0),
        stored_values=facts.get("stored_values", 0),
        stored_bytes=facts.get("stored_bytes", 0),
    )
