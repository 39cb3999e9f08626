"""What callers and the task service tell each other about actors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshgen.objectref import ObjectRef
from meshgen.reply import Reply
from meshgen.stub import MethodStub
from meshgen.types import Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a handle knows of its actor's class."""

    class_name: str
    methods: Mapping[str, MethodStub]
    # Whether it answers to methods that cannot be listed (`__getattr__`).
    open_ended: bool
    # Whether any method is `async def`: then its methods run at the same time.
    is_async: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An actor to be made. `name` is empty for one that is found by its handle only."""

    actor_id: str
    name: str
    get_if_exists: bool
    max_concurrency: int
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An actor that was made, and the replica where it lives."""

    actor_id: str
    replica_id: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Later:
    """Marks an argument that the method gets the value of, when it is its turn."""

    ref: Any


class ActorPlace:
    """Where an actor lives: a `Place`, known once the actor is made or found.

    `made` is a reference to a `Made`.
    """

    def __init__(self, class_name: str, name: str, made: ObjectRef[Made]) -> None:
        self._class_name = class_name
        self._name = name
        self.made = made

    @property
    def resident(self) -> str:
        """What lives there, as errors name it."""
        made = self.known
        return resident(self._class_name or (made.shape.class_name if made else ""), self._name)

    @property
    def known(self) -> Made | None:
        """The actor, once it was made or found."""
        if not self.reply.done or self.reply.error is not None:
            return None
        made: Made = self.reply.value()
        return made

    @property
    def reply(self) -> Reply:
        """Ends when the actor is made."""
        return self.made.reply

    def replica_id(self) -> str:
        """The replica where it lives."""
        made: Made = self.reply.value()
        return made.replica_id

    def __reduce__(self) -> tuple[Any, ...]:
        made = self.known
        if made is None:
            return ActorPlace, (self._class_name, self._name, self.made)
        return _place_of, (self._class_name, self._name, made)


def _place_of(class_name: str, name: str, made: Made) -> ActorPlace:
    return ActorPlace(class_name, name, ObjectRef(_resolved(made)))


def _resolved(value: Any) -> Reply:
    reply = Reply()
    reply.resolve(Payload(pickle.dumps(value)), lambda _payload: value)
    return reply


def resident(class_name: str, name: str = "") -> str:
    """An actor, as errors name it."""
    of_class = f"of class {class_name}" if class_name else "of a class that is not known yet"
    return f"actor {name!r} {of_class}" if name else f"an actor {of_class}"


class ReplicaPlace:
    """A replica of the task service by its id, for what is said to lie there: a `Place`."""

    def __init__(self, what: str, reply: Reply) -> None:
        self.resident = what
        self.reply = reply

    @classmethod
    def known(cls, what: str, replica_id: str) -> ReplicaPlace:
        """One of which the id is known already."""
        return cls(what, _resolved(replica_id))

    def replica_id(self) -> str:
        """Which it is."""
        return str(self.reply.value())
