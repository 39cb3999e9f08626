"""A value that is kept at a replica, as a process that needs it sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Protocol
from weakref import ref

from meshgen.objectref import Passed
from meshgen.reply import Reply
from meshgen.runtime import codec
from meshgen.runtime.peer import Peer
from meshgen.types import Payload, Token
from meshgen.v1 import mesh_pb2 as pb


class Maker(Protocol):
    """Who can make a value again."""

    def make(self) -> Reply | None:
        """Begin to; None if that may not be now."""


class Bringer(Protocol):
    """Who brings values here, on the mesh's loop."""

    def post(self, function: Callable[..., None], *args: Any) -> None:
        """Do something there, from whichever thread."""

    def fetch(self, value: HeldValue, reply: Reply) -> None:
        """Bring a value here; `reply` ends with it."""


class Lease:
    """This process's hold on a value, by its link to a replica; released with this object."""

    def __init__(self, peer: Peer, value_id: str, bringer: Bringer) -> None:
        self.peer = peer
        self._value_id = value_id
        self._bringer = bringer
        self._ended = False
        # Who was sent calls that refer to the value, under this lease until they have their own.
        self.told: set[Peer] = set()
        peer.held += 1

    def end(self) -> None:
        """Need the value there no more; from any thread. Idempotent."""
        ended, self._ended = self._ended, True
        if not ended:
            with suppress(RuntimeError):  # the mesh or its loop is gone, and the value with it
                self._bringer.post(_release_soon, self.peer, self._value_id)

    __del__ = end


def _release_soon(peer: Peer, value_id: str) -> None:
    # Not at once: a collection of garbage may be in the middle of anything.
    asyncio.get_running_loop().call_soon(_release, peer, value_id)


def _release(peer: Peer, value_id: str) -> None:
    peer.held -= 1
    if not peer.closed:
        peer.session.release(value_id)
        if not peer.held:
            peer.changed()


class HeldValue:
    """A value at a replica. With a lease, it stays there for as long as this object lives.

    Before that somebody else's lease covers it: that of the call which brought it here.
    """

    def __init__(self, token: Token, bringer: Bringer, lease: Lease | None = None) -> None:
        self._token = token
        self._bringer = bringer
        self.lease = lease
        # Asks for a lease; whether it comes here because its replica leaves.
        self.holding: asyncio.Task[None] | None = None
        self.is_moving = False
        # Where one knows that it is large and refers to nothing: no need to ask before the fetch.
        self.is_plain = False
        # The value itself or why there is none, once word of that has come here.
        self.payload: Payload | None = None
        self.failure: pb.Failure | None = None
        # Who can make it again, if this process can have that done, and who does so now.
        self.recipe: Maker | None = None
        self.remaking: asyncio.Task[None] | None = None

    @property
    def token(self) -> Token:
        """Where it is."""
        return self._token

    @property
    def error(self) -> BaseException | None:
        """Why there is no value, where one knows."""
        return None if self.failure is None else codec.decode_failure(self.failure)

    def is_at(self, peer: Peer) -> bool:
        """Whether it is kept there for this process, and only there."""
        at = self.lease is not None and self.lease.peer is peer
        return at and self.payload is None and self.failure is None

    @property
    def is_cut_off(self) -> bool:
        """Whether it was kept by a link that has ended, and by no other that is known here."""
        return self.lease is not None and self.is_at(self.lease.peer) and self.lease.peer.closed

    def take(self, lease: Lease) -> None:
        """Have it kept by this lease, unless what it was is known by now."""
        if self.payload is None and self.failure is None:
            self.lease = lease

    def come_home(self, payload: Payload | None, failure: pb.Failure | None = None) -> None:
        """It need not be kept there any more, but for calls that were told where it is."""
        self.payload, self.failure, self.lease = payload, failure, None

    def was_remade(self, reply: Reply) -> None:
        """It was lost, and is what this reply has ended with."""
        made = reply.kept
        if isinstance(made, HeldValue) and made.payload is None and made.failure is None:
            self._token, self.lease, self.is_plain = made.token, made.lease, made.is_plain
        elif reply.error is not None:
            self.come_home(None, codec.encode_failure(reply.error, str(self._token.owner)))
        else:
            self.come_home(reply.payload)

    def fetch(self, reply: Reply) -> None:
        """Bring the value here, from whichever thread; `reply` ends with it."""
        if self.payload is not None:
            reply.resolve(self.payload, codec.decode)
        elif (error := self.error) is not None:
            reply.fail(error)
        else:
            self._bringer.post(self._bringer.fetch, self, reply)


def lent(references: Iterable[Passed]) -> list[ref[HeldValue]]:
    """The values elsewhere that references lead to, without keeping them."""
    found = []
    for each in references:
        kept = each.reply.kept
        if isinstance(kept, HeldValue):
            found.append(ref(kept))
        elif each.reply.payload is not None:
            found += lent(each.reply.payload.references)
    return found


def leases(references: Iterable[Passed]) -> list[Lease]:
    """What has to live as long as a call that refers to those values."""
    values = [value() for value in lent(references)]
    return [value.lease for value in values if value is not None and value.lease is not None]
