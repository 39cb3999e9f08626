"""How a value is made again that was lost with the replica that kept it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from meshgen.reply import Reply
from meshgen.runtime.budget import MOST_ATTEMPTS
from meshgen.runtime.heldvalue import lent
from meshgen.types import Payload

if TYPE_CHECKING:
    from meshgen.runtime.unarycall import UnaryCall

# How many calls deep values are made again. A recipe keeps the arguments of its call alive, and
# those their own recipes: a loop that passes each result to the next call would keep all of them.
_DEPTH = 4


class Recipe:
    """The call that made a value, without its outcome: that would keep the value for ever."""

    def __init__(self, call: UnaryCall, depth: int) -> None:
        self.depth = depth
        # Who waits for the value has a deadline of its own.
        context = replace(call.context, deadline=None, calls=None)
        self._new = partial(type(call), call.target, call.method, context, call.home)
        arguments = call.arguments
        self._arguments = arguments.pickle, arguments.buffers, arguments.references
        self._policy, self._repeater = call.policy, call.repeater
        self._dispatcher = call.dispatcher
        self._attempts = call.attempts

    def make(self) -> Reply | None:
        """Call again; None if failing replicas leave no room for it, or it was tried too often."""
        repeater = self._repeater
        if repeater is None or self._attempts >= MOST_ATTEMPTS or not repeater.may_repeat():
            return None
        self._attempts += 1
        reply = Reply()
        call = self._new(reply)
        call.arguments = Payload(*self._arguments)
        call.policy, call.repeater = self._policy, repeater
        call.dispatcher, call.attempts = self._dispatcher, self._attempts
        reply.carrier = call
        call.set_out()
        return reply


def recipe_of(call: UnaryCall) -> Recipe | None:
    """How to make the outcome of a call again; None if that may not be."""
    if call.repeater is None or call.has_streams():
        return None
    depth = 1
    for each in lent(call.arguments.references):
        value = each()
        if value is not None and isinstance(value.recipe, Recipe):
            depth = max(depth, value.recipe.depth + 1)
    return Recipe(call, depth) if depth <= _DEPTH else None
