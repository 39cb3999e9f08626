"""What calls have left behind, in a mesh of gated links."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.replica import Replica
from tests.runtime.gated import GatedNetwork


def leftovers(network: GatedNetwork, replicas: Sequence[Replica], caller: MeshCaller) -> list[str]:
    """What is still open or kept somewhere."""
    counts = {"leaving": len(network.leaving)}
    counts |= dict(pair for replica in replicas for pair in _kept_by(replica))
    for replica in replicas:
        if replica.replica_id not in network.leaving:  # it forgets nothing before it is gone
            counts[f"replica {replica.replica_id}: values"] = len(replica.values)
    for index, peer in enumerate(network.peers):
        open_there = 0 if peer.closed else peer.in_flight + peer.beside
        link = f"link {index} to {peer.address}: "
        counts[link + "open"] = open_there + len(peer.session.calls)
        counts[link + "held"] = peer.held
        counts[link + "waiting"] = len(peer.session.waiting)
    for router in vars(caller)["_routers"].values():
        counts["queued"] = len(vars(router)["_queue"])
    return [f"{what} {count}" for what, count in counts.items() if count]


def _kept_by(replica: Replica) -> Iterator[tuple[str, int]]:
    busy, name = replica.occupancy, f"replica {replica.replica_id}: "
    yield name + "ongoing", busy.ongoing
    yield name + "wanted", busy.wanted
    yield name + "handing out", busy.handing_out
    yield name + "streams", len(replica.streams)
    yield name + "results", len(replica.results)
    yield name + "uploads", len(replica.uploads)
