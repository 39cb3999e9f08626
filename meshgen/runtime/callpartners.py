"""Whom a call on its way deals with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from meshgen.runtime.holds import Holds
from meshgen.runtime.peer import Peer

if TYPE_CHECKING:
    from meshgen.runtime.calls import PendingCall


class Dispatcher(Protocol):
    """Who finds a replica for a call."""

    def submit(self, call: PendingCall) -> None:
        """Find one."""

    def again(self, call: PendingCall, peer: Peer) -> None:
        """`peer` did not start the call: find another, or wait."""

    def forget(self, call: PendingCall) -> None:
        """Nobody waits for a call that no replica has."""


class Repeater(Protocol):
    """Who sends calls again that may have run, as far as failing replicas leave room for it."""

    def may_repeat(self) -> bool:
        """Whether calls may be sent again now."""

    def repeat(self, call: PendingCall) -> None:
        """Send one again."""

    def second(self, than: Peer) -> Peer | None:
        """Another replica for a second copy of a call, if there is one to spare."""


class Line(Protocol):
    """Where a call waits for those before it."""

    def moved_on(self, call: PendingCall) -> None:
        """It has left, or has ended."""


class Home(Protocol):
    """The process's caller, as its calls see it."""

    holds: Holds

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something on the mesh's loop, from whichever thread."""
