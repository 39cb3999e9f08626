"""Named actors: which replica of the task service has them, or will.

A name lives and ends with its actor. Whoever looks for one asks all replicas; new ones are made at
the replica with the smallest id, so that two callers who make one at a time meet there.
"""

from __future__ import annotations

import asyncio
from functools import partial

from meshgen.errors import ActorDiedError, NoSuchActorError
from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.tasks.home import TaskService
from meshgen.tasks.places import Made, ReplicaPlace, resident


def choose_replica(service: TaskService, class_name: str, name: str) -> ReplicaPlace:
    """Where an actor of that name is, or else is to be made."""
    reply = Reply()
    service.caller.put_later(partial(_choose, service, name), reply)
    return ReplicaPlace(resident(class_name, name), reply)


async def _choose(service: TaskService, name: str) -> str:
    replicas = await service.caller.replica_ids(service.stub)
    found = await _ask_all(service, name, replicas)
    return replicas[0] if found is None else found.replica_id


def look_up(service: TaskService, name: str) -> ObjectRef[Made]:
    """The actor of that name."""
    reply = Reply()
    service.caller.put_later(partial(_look_up, service, name), reply)
    return ObjectRef(reply)


async def _look_up(service: TaskService, name: str) -> Made:
    replicas = await service.caller.replica_ids(service.stub)
    found = await _ask_all(service, name, replicas)
    if found is None:
        raise NoSuchActorError(
            f"no actor {name!r} lives in this mesh: make one by Class.options(name={name!r})"
            ".remote(...), or look whether it was killed"
        )
    return found


async def _ask_all(service: TaskService, name: str, replicas: list[str]) -> Made | None:
    answers = [_ask(service, name, replica_id) for replica_id in replicas]
    found = [made for made in await asyncio.gather(*answers) if made is not None]
    return found[0] if found else None


async def _ask(service: TaskService, name: str, replica_id: str) -> Made | None:
    place = ReplicaPlace.known(f"the replica {replica_id}", replica_id)
    try:
        found: Made | None = await service.call("find", (name,), {}, place=place, apart=True)
    except ActorDiedError:  # it left in the meantime, and what it had with it
        return None
    return found
