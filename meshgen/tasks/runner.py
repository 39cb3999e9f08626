"""The task service: runs functions, and keeps actors. A deployment like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from meshgen import objects
from meshgen.errors import ActorDiedError, OptionError
from meshgen.objectref import ObjectRef
from meshgen.serve.context import get_replica_context
from meshgen.tasks.code import Code, CodeShelf
from meshgen.tasks.places import Later, Made, Order
from meshgen.tasks.resident import Resident, refuse_generator


class TaskRunner:
    """One replica of the task service. `def` tasks run in the replica's threads."""

    def __init__(self) -> None:
        self._shelf = CodeShelf()
        self._actors: dict[str, Resident] = {}
        self._names: dict[str, Resident] = {}

    def run(self, code: Code, count: int, /, *args: Any, **kwargs: Any) -> Any:
        """Run a plain function; with another `count` than 1, a reference to each of its results."""
        function = self._shelf.find(code)
        if function is None:
            assert code.kept is not None
            function = self._shelf.load(code, objects.get(code.kept))
        return _results(code.name, count, function(*args, **kwargs))

    async def run_async(self, code: Code, count: int, /, *args: Any, **kwargs: Any) -> Any:
        """Run an `async def` function."""
        function = await self._load(code)
        return _results(code.name, count, await function(*args, **kwargs))

    async def _load(self, code: Code) -> Callable[..., Any]:
        # In a thread: what is imported for it may take its time.
        found = await asyncio.to_thread(self._shelf.find, code)
        if found is None:
            assert code.kept is not None
            found = await asyncio.to_thread(self._shelf.load, code, await code.kept)
        return found

    async def item(self, results: Sequence[ObjectRef[Any]], index: int) -> Any:
        """One of several results."""
        return await results[index]

    async def create(self, code: Code, order: Order, /, *args: Any, **kwargs: Any) -> Made:
        """Make an actor, or find the one that has its name already.

        Raises:
            OptionError: The name is taken.
            BaseException: Whatever the constructor raises.
        """
        actor = self._names.get(order.name)
        if actor is not None and order.name:
            if not order.get_if_exists:
                raise OptionError(
                    f"the name {order.name!r} is taken by {actor.name}: choose another, or take "
                    "that one by get_if_exists=True or meshgen.get_actor"
                )
            await actor.wait()
            return actor.made
        return await self._create(code, order, args, kwargs)

    async def _create(self, code: Code, order: Order, args: Any, kwargs: Any) -> Made:
        replica_id = get_replica_context().replica_id
        made = Made(actor_id=order.actor_id, replica_id=replica_id, shape=order.shape)
        actor = self._actors[order.actor_id] = Resident(order, made)
        if order.name:
            self._names[order.name] = actor
        try:
            cls: Any = await self._load(code)
            await actor.construct(cls, args, kwargs)
        except BaseException:
            self._forget(actor)
            raise
        return made

    def _forget(self, actor: Resident) -> None:
        self._actors.pop(actor.order.actor_id, None)
        if self._names.get(actor.order.name) is actor:
            del self._names[actor.order.name]

    async def call(
        self,
        actor: str | Later,
        who: str,
        method: str,
        count: int,
        /,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Run a method of an actor when it is its turn; `who` is how errors name it."""
        found = await self._actor(actor, who)
        return _results(method, count, await found.call(method, args, kwargs))

    async def _actor(self, key: str | Later, who: str) -> Resident:
        if isinstance(key, Later):  # not known when the call was made
            made: Made = await key.ref
            key = made.actor_id
        found = self._actors.get(key)
        if found is None:
            raise ActorDiedError(
                f"{who} is dead: it was killed, or the process that it lived in was started anew"
            )
        return found

    async def kill(self, actor: str | Later, who: str, /) -> None:
        """End an actor; nothing happens if it is dead."""
        try:
            found = await self._actor(actor, who)
        except ActorDiedError:
            return
        self._forget(found)
        found.kill("it was killed by meshgen.kill")

    async def find(self, name: str) -> Made | None:
        """The actor of that name, if it lives here."""
        found = self._names.get(name)
        return None if found is None else found.made

    def __del__(self) -> None:
        # The replica leaves: what its actors' own `__del__` do is done now.
        for actor in list(self._actors.values()):
            actor.kill("its process ends")


def _results(name: str, count: int, result: Any) -> Any:
    """What a task or method returned: itself, or a reference to each item.

    Raises:
        OptionError: It has another number of items.
    """
    refuse_generator(name, result)
    if count == 1:
        return result
    if count == 0:
        return None
    items = list(result)
    if len(items) != count:
        raise OptionError(f"{name} has num_returns={count}, but returned {len(items)} items")
    return [objects.put(item) for item in items]
