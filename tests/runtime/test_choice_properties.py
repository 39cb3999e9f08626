"""Which replica is picked, whichever there are and whatever they do."""

from __future__ import annotations

import time

from hypothesis import given, settings
from hypothesis import strategies as st

from meshgen.runtime.choice import Choice
from meshgen.runtime.peer import Peer
from meshgen.v1 import mesh_pb2 as pb
from tests.runtime.links import Waiting, a_call
from tests.runtime.peers import serving_peer


@st.composite
def replicas(draw: st.DrawFn) -> list[Peer]:
    """Some, of this machine and of others, with calls in flight; some are full or refuse."""
    return [_replica(draw, str(index)) for index in range(draw(st.integers(0, 6)))]


def _replica(draw: st.DrawFn, name: str) -> Peer:
    address = draw(st.sampled_from([f"unix:/{name}", f"10.0.0.{name}:1"]))
    peer = serving_peer(address)
    limit = draw(st.integers(1, 4))
    peer.tell(_serving(name, limit))
    for _ in range(draw(st.integers(0, limit))):
        peer.session.request(a_call(), Waiting())
    if draw(st.booleans()):
        peer.refusals, peer.busy_until = 1, time.monotonic() + 1000
    return peer


def _serving(name: str, limit: int) -> pb.State:
    """A replica of that id takes calls."""
    return pb.State(phase=pb.REPLICA_PHASE_SERVING, replica_id=name, max_ongoing_requests=limit)


@settings(deadline=None)
@given(peers=replicas(), session=st.text(max_size=3))
def test_what_is_picked_has_room(peers: list[Peer], session: str) -> None:
    """None is picked only where none has room; of those of one kind, never the busiest of all."""
    choice = Choice()
    choice.among(peers)
    with_room = [peer for peer in peers if peer.has_room()]
    for _ in range(5):
        picked = choice.pick(session)
        assert (picked is None) == (not with_room)
        assert picked is None or picked in with_room
        if picked is not None and not session and len(with_room) > 1:
            loads = [peer.load for peer in with_room if peer is not picked]
            assert picked.load <= max(loads)


@settings(deadline=None)
@given(count=st.integers(1, 6), gone=st.integers(0, 5), sessions=st.sets(st.text(max_size=4)))
def test_scaling_moves_the_sessions_it_must(count: int, gone: int, sessions: set[str]) -> None:
    """Those of the replica that goes, or to the one that comes; whatever the order of replicas."""
    peers: list[Peer] = []
    for index in range(count + 1):
        peer = serving_peer(f"10.0.0.{index}:1")
        peer.tell(_serving(str(index), 100))
        peers.append(peer)
    all_of, without = Choice(), Choice()
    all_of.among(peers)
    lost = peers[gone % len(peers)]
    without.among([peer for peer in reversed(peers) if peer is not lost])
    for session in sessions - {""}:
        home = all_of.pick(session)
        assert all_of.pick(session) is home
        assert home is lost or without.pick(session) is home
