"""Which replicas of a deployment there are: found, connected to, and trusted or left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from meshgen.runtime.choice import Choice
from meshgen.runtime.peer import Peer
from meshgen.runtime.resolver import Resolver
from meshgen.stub import DeploymentStub
from meshgen.v1 import mesh_pb2 as pb

# How long a replica that failed is left alone, in seconds: at first, and at most.
_EJECTED = (0.1, 10.0)
# The same for one that was not reached at all, and for the only one there is.
_UNREACHED = (0.1, 1.0)
# The same for one of another build, which a call that waits asks again as the only one there is.
_UNFIT = (1.0, 60.0)
# A connection that has worked for so long makes up for those that failed before.
_PROOF_SECONDS = 5.0
# So many calls in a row that failed beside a link that is well make its replica suspect.
_WIRE_FAILURES = 3

Connect = Callable[[str, Callable[[Peer], None]], Peer]


class MemberEvents(Protocol):
    """Who is told of replicas."""

    def changed(self) -> None:
        """A replica has answered, takes calls, or does not any more."""

    def lost(self, peer: Peer) -> None:
        """A connection has ended, and is none of the peers now."""

    def looked(self) -> None:
        """It was looked for replicas."""

    @property
    def is_waiting(self) -> bool:
        """Whether calls wait for a replica."""


@dataclass(slots=True)
class _Record:
    """What is held against an address: failures in a row, when the last was, and the pause then."""

    failures: int = 0
    at: float = 0.0
    pause: float = 0.0


class Members:
    """The connections to a deployment's replicas. Owns them and the task that looks for new ones.

    A replica that has failed is left alone for a growing time, then answers a PING before it is
    among those that serve, unless it is the only one.
    """

    def __init__(
        self, stub: DeploymentStub, resolver: Resolver, connect: Connect, events: MemberEvents
    ) -> None:
        self.stub = stub
        # Those that take calls, and are trusted if any is; whom of them to take.
        self.serving: list[Peer] = []
        self.choice = Choice()
        # Why a connection, or the search for replicas, failed the last time.
        self.last_failure = ""
        self._resolver = resolver
        self._connect = connect
        self._events = events
        self._peers: dict[str, Peer] = {}
        self._records: dict[str, _Record] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._look: asyncio.Event = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    @property
    def peers(self) -> list[Peer]:
        """The connections to replicas, also those that are being made."""
        return list(self._peers.values())

    def watch(self) -> None:
        """Begin to look for replicas."""
        if self._watching is None:
            self._watching = self._loop.create_task(self._watch_replicas())

    def look(self) -> None:
        """A call has nowhere to go: look now."""
        self._look.set()

    async def _watch_replicas(self) -> None:
        """Ask the resolver every period, and at once when a call has nowhere to go."""
        while True:
            await self._reconcile()
            self._events.looked()
            self._look.clear()
            try:
                async with asyncio.timeout(self._resolver.period):
                    await self._look.wait()
                # Asked for: but not more than a hundred times a second.
                await asyncio.sleep(0.01)
            except TimeoutError:
                pass

    async def _reconcile(self) -> None:
        try:
            addresses = await self._resolver.addresses()
        except OSError as exc:  # too many open files, say: it may be better the next time
            self.last_failure = f"looking for replicas failed: {exc}"
            return
        now = self._loop.time()
        kept = {*addresses, *self._peers}
        self._records = {at: each for at, each in self._records.items() if at in kept}
        for address in addresses:
            if address not in self._peers and not self._is_left_alone(address, now):
                peer = self._connect(address, self._changed)
                self._peers[address] = peer
                peer.start()
        self._review(now)

    def _is_left_alone(self, address: str, now: float) -> bool:
        record = self._records.get(address)
        if record is None:
            return False
        # If it would be the only one, a longer pause saves nobody.
        is_needed = self._events.is_waiting and not self.serving
        pause = min(record.pause, _UNREACHED[1]) if is_needed else record.pause
        return now < record.at + pause

    def _changed(self, peer: Peer) -> None:
        """A peer has answered, has told another state, or is gone."""
        if peer.closed:
            self._lost(peer)
        if peer.serving is not peer.is_listed:
            self._turned(peer)
        self._events.changed()

    def _turned(self, peer: Peer) -> None:
        """A peer takes calls now, or does not any more."""
        peer.is_listed = peer.serving
        peer.serving_since = self._loop.time()
        if peer.serving and peer.address in self._records:
            self._suspect(peer)
        self._list()

    def _list(self) -> None:
        serving = [peer for peer in self._peers.values() if peer.is_listed]
        self.serving = [peer for peer in serving if not peer.suspect] or serving
        self.choice.among(self.serving)

    def _suspect(self, peer: Peer) -> None:
        """Ask a peer whether it works; until it answers, others are preferred."""
        peer.suspect = True
        if not peer.closed:
            peer.session.ping(partial(self._trust, peer))

    def _trust(self, peer: Peer) -> None:
        peer.suspect = False
        self._list()

    def _review(self, now: float) -> None:
        """Leave alone whose calls keep failing, and forgive whose connection has worked."""
        for peer in list(self._peers.values()):
            if peer.wire_failures >= _WIRE_FAILURES:
                self._eject(peer)
            elif peer.address in self._records and _is_proven(peer, now):
                del self._records[peer.address]

    def _eject(self, peer: Peer) -> None:
        peer.wire_failures = 0
        peer.suspect = True
        self._list()
        pause = self._hold_against(peer.address, _EJECTED)
        self._loop.call_later(pause, self._suspect, peer)

    def _hold_against(self, address: str, pauses: tuple[float, float]) -> float:
        record = self._records.setdefault(address, _Record())
        record.failures += 1
        record.at, record.pause = self._loop.time(), backoff(record.failures, *pauses)
        return record.pause

    def _lost(self, peer: Peer) -> None:
        if self._peers.get(peer.address) is not peer:
            return
        del self._peers[peer.address]
        has_left = peer.session.state.phase == pb.REPLICA_PHASE_DRAINING
        if peer.is_unfit:
            pauses = _UNFIT
        else:
            pauses = _EJECTED if peer.serving_since and not has_left else _UNREACHED
        self._hold_against(peer.address, pauses)
        self.last_failure = peer.failure or self.last_failure
        self._turned(peer)
        self._events.lost(peer)
        task = self._loop.create_task(peer.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        self._look.set()

    async def close(self) -> None:
        """End every connection."""
        for peer in list(self._peers.values()):
            peer.closed = True
            self._lost(peer)
        tasks = set(self._closing)
        if self._watching is not None:
            self._watching.cancel()
            tasks.add(self._watching)
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_proven(peer: Peer, now: float) -> bool:
    works = peer.is_listed and not peer.suspect and peer.answers > 0
    return works and now - peer.serving_since > _PROOF_SECONDS


def backoff(count: int, first: float, most: float) -> float:
    """Seconds to wait after the `count`th failure in a row."""
    return min(most, first * float(2 ** min(count - 1, 10)))
