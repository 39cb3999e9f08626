"""Whom of the replicas that take calls the next call goes to."""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b

from meshgen.runtime.host_id import this_host
from meshgen.runtime.peer import Peer

_LOOPBACK = ("unix:", "127.", "localhost:", "ipv6:[::1]", "[::1]")


def is_near(peer: Peer) -> bool:
    """Whether a replica is on this machine."""
    if peer.address.startswith(_LOOPBACK):
        return True
    host = peer.session.state.host
    return bool(host) and host == this_host()


class Choice:
    """Picks replicas: the less loaded of two, those of this machine first, sessions to their own.

    None is picked only where none has room.
    """

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.Random()
        self._peers: Sequence[Peer] = ()
        # Only where there are both.
        self._near: Sequence[Peer] = ()
        self._far: Sequence[Peer] = ()

    def among(self, peers: Sequence[Peer]) -> None:
        """Pick from these from now on."""
        near = [peer for peer in peers if is_near(peer)]
        far = [peer for peer in peers if peer not in near]
        self._peers = peers
        self._near, self._far = (near, far) if near and far else ((), ())

    def pick(self, session_id: str = "") -> Peer | None:
        """A replica for a call, of that session if it says one."""
        peers = self._peers
        if len(peers) == 1:
            return peers[0] if peers[0].has_room() else None
        if session_id:
            return _highest(session_id, peers)
        if not self._near:
            return self._of_two(peers)
        near, far = self._of_two(self._near), self._of_two(self._far)
        if near is None or far is None:
            return near or far
        return near if near.load <= far.load else far

    def pick_other(self, than: Peer) -> Peer | None:
        """A replica for another copy of a call that is at one already."""
        return self._of_two([peer for peer in self._peers if peer is not than])

    def _of_two(self, peers: Sequence[Peer]) -> Peer | None:
        """Of two random ones with room, the one with less to do."""
        if len(peers) < 2:
            return peers[0] if peers and peers[0].has_room() else None
        first, second = _two(peers, self._rng)
        if first.has_room() and second.has_room():
            return first if first.load <= second.load else second
        peers = [peer for peer in peers if peer.has_room()]
        if len(peers) < 2:
            return peers[0] if peers else None
        first, second = _two(peers, self._rng)
        return first if first.load <= second.load else second


def _two(peers: Sequence[Peer], rng: random.Random) -> tuple[Peer, Peer]:
    # Three times as fast as `sample`.
    count = len(peers)
    first = int(rng.random() * count)
    second = int(rng.random() * (count - 1)) if count > 2 else 0
    return peers[first], peers[second + (second >= first)]


def _highest(session_id: str, peers: Sequence[Peer]) -> Peer | None:
    """The replica with room that ranks highest for a session (rendezvous hashing).

    Each replica's rank is its own: one that comes or goes moves no other replica's sessions.
    """
    candidates = [peer for peer in peers if peer.has_room()]
    return max(candidates, key=lambda peer: _rank(session_id, peer), default=None)


def _rank(session_id: str, peer: Peer) -> bytes:
    replica = peer.session.state.replica_id or peer.address
    text = f"{session_id}\0{replica}".encode(errors="backslashreplace")
    return blake2b(text, digest_size=8).digest()
