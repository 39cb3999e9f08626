"""The responses that a call's arguments refer to: when they can go along, and what they came to."""

from __future__ import annotations

from collections.abc import Sequence

from meshgen.errors import ObjectLostError, ReplicaLostError
from meshgen.objectref import Passed
from meshgen.reply import wake_on
from meshgen.runtime.heldvalue import HeldValue
from meshgen.types import DeploymentID


def is_ready(passed: Passed) -> bool:
    """Whether it can go along with a call at this moment."""
    return passed.reply.settled if passed.by_value else passed.reply.passable


def fetches(references: Sequence[Passed]) -> list[str]:
    """The ids of the values that a call waits for at its replica."""
    tokens = [each.reply.token for each in references if each.by_value]
    return [token.value_id for token in tokens if token is not None]


def remakeable(references: Sequence[Passed]) -> list[HeldValue]:
    """The values that a call waits for at its replica and that this process can have made again."""
    kept = [each.reply.kept for each in references if each.by_value]
    values = [each for each in kept if isinstance(each, HeldValue)]
    return [each for each in values if each.recipe is not None and each.payload is None]


async def passable(references: Sequence[Passed]) -> None:
    """Wait until each response that is passed on has a replica or has ended."""
    for each in references:
        carrier = each.reply.carrier
        if not each.reply.passable and carrier is not None:
            await wake_on(carrier.keep)


def upstream_error(references: Sequence[Passed], target: DeploymentID) -> BaseException | None:
    """Why a call of `target` cannot have the values that it waits for."""
    for each in references:
        if each.by_value and (error := each.reply.error) is not None:
            if isinstance(error, ReplicaLostError):
                return ObjectLostError(f"{target} was not called: {error}")
            return error
    return None
