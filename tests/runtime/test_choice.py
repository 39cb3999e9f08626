"""Whom the next call goes to, of those that take calls."""

from __future__ import annotations

import math
import random
from collections import Counter

from meshgen.runtime.choice import Choice, is_near
from meshgen.runtime.host_id import this_host
from meshgen.runtime.peer import Peer
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.peers import ScriptedPeer


def _peer(
    in_flight: int = 0, address: str = "far:1", *, others: int = 0, limit: int = 100, host: str = ""
) -> ScriptedPeer:
    """A replica with so many calls of this process and of others."""
    peer = ScriptedPeer(address, lambda _: None)
    peer.start()
    peer.beside = in_flight
    state = pb.State(phase=pb.REPLICA_PHASE_SERVING, max_ongoing_requests=limit, host=host)
    state.replica_id = address
    peer.session.ongoing = in_flight + others
    peer.tell(state)
    # What it told of others is believed for a second: here, for as long as the test takes.
    peer._others_until = math.inf
    return peer


def _choice(*peers: Peer) -> Choice:
    choice = Choice(random.Random(1))
    choice.among(peers)
    return choice


def _picked(choice: Choice, count: int = 400) -> Counter[Peer | None]:
    return Counter(choice.pick() for _ in range(count))


def test_the_less_loaded_of_two_is_picked() -> None:
    """Always, where there are only two."""
    idle, busy = _peer(0), _peer(3)
    assert _picked(_choice(busy, idle)) == {idle: 400}


def test_every_replica_is_picked_but_the_worst() -> None:
    """Two random ones are compared: the most loaded of all loses every time."""
    peers = [_peer(count) for count in range(5)]
    assert set(_picked(_choice(*peers))) == set(peers[:4])


def test_equal_replicas_share_evenly() -> None:
    """None is preferred for where it stands."""
    peers = [_peer() for _ in range(4)]
    picked = _picked(_choice(*peers), 4000)
    assert all(900 < picked[peer] < 1100 for peer in peers)


def test_calls_of_others_count() -> None:
    """The replica tells of them with each message: ours are not counted twice."""
    crowded, ours = _peer(1, others=5), _peer(3)
    assert crowded.load == 6 and ours.load == 3
    assert _picked(_choice(crowded, ours)) == {ours: 400}


def test_what_others_have_there_is_never_negative() -> None:
    """Calls of ours that are on their way there are not running yet."""
    assert _peer(4, others=-3).load == 4


def test_one_without_room_is_passed_over() -> None:
    """Also by chance: as long as any has room, one is found."""
    full = [_peer(1, limit=1) for _ in range(9)]
    free = _peer(50)
    assert _picked(_choice(*full, free)) == {free: 400}


def test_none_has_room() -> None:
    """However many there are, and none at all."""
    for count in (0, 1, 2, 5):
        assert _choice(*[_peer(1, limit=1) for _ in range(count)]).pick() is None


def test_replicas_of_this_machine_come_first() -> None:
    """A socket or loopback, or the kernel that the replica tells of."""
    for near in (
        _peer(address="unix:/run/0.sock"),
        _peer(address="127.0.0.1:9"),
        _peer(address="ipv6:[::1]:9"),
        _peer(address="10.0.0.2:9", host=this_host()),
    ):
        assert is_near(near)
        assert _picked(_choice(_peer(), near, _peer())) == {near: 400}


def test_a_nearer_replica_that_is_busier_is_not_preferred() -> None:
    """Near saves microseconds, waiting costs more."""
    near, far = _peer(2, "unix:/run/0.sock"), _peer(1, "far:1")
    assert _picked(_choice(near, far)) == {far: 400}


def test_a_far_replica_gets_what_the_near_have_no_room_for() -> None:
    """And the reverse."""
    near, far = _peer(1, "unix:/run/0.sock", limit=1), _peer(9)
    assert _picked(_choice(near, far)) == {far: 400}
    near, far = _peer(9, "unix:/run/0.sock"), _peer(1, limit=1)
    assert _picked(_choice(near, far)) == {near: 400}


def test_an_unknown_machine_is_not_this_one() -> None:
    """Neither end can tell where there is no boot id."""
    assert not is_near(_peer(address="10.0.0.2:9", host=""))


SESSIONS = [f"session-{n}" for n in range(500)]


def _homes(*peers: Peer) -> dict[str, Peer | None]:
    choice = _choice(*peers)
    return {session: choice.pick(session) for session in SESSIONS}


def test_a_session_stays_with_its_replica() -> None:
    """In every process, whatever the load: the replica's id decides."""
    peers = [_peer(address=str(n)) for n in range(4)]
    before = _homes(*peers)
    peers[0].beside = 50
    assert _homes(*reversed(peers)) == before
    shares = Counter(before.values())
    assert all(80 < shares[peer] < 180 for peer in peers)


def test_an_added_replica_takes_its_sessions_only() -> None:
    """No session moves between those that were there."""
    peers = [_peer(address=str(n)) for n in range(4)]
    added = _peer(address="new")
    before, after = _homes(*peers), _homes(*peers, added)
    moved = {session for session in SESSIONS if before[session] is not after[session]}
    assert {after[session] for session in moved} == {added}
    assert 50 < len(moved) < 150


def test_a_removed_replica_moves_its_sessions_only() -> None:
    """They go where they rank next, each by itself."""
    peers = [_peer(address=str(n)) for n in range(4)]
    before, after = _homes(*peers), _homes(*peers[1:])
    moved = {session for session in SESSIONS if before[session] is not after[session]}
    assert moved == {session for session in SESSIONS if before[session] is peers[0]}
    assert len({after[session] for session in moved}) == 3


def test_a_session_whose_replica_is_full_goes_to_the_next_in_rank() -> None:
    """The same that it would go to if that replica left."""
    full, *rest = (_peer(address=str(n), limit=9) for n in range(4))
    full.beside = 9
    assert _homes(full, *rest) == _homes(*rest)


def test_the_other_replica_for_a_copy() -> None:
    """Never the one that has the call already, and none where there is no other."""
    first, second = _peer(), _peer(50)
    assert _choice(first, second).pick_other(first) is second
    assert _choice(first).pick_other(first) is None
