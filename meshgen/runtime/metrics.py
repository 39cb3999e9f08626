"""A replica's figures for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meshgen.runtime.replica import Replica

_LABELS = ("application", "deployment", "replica")


class ReplicaCollector(Collector):
    """Reads the figures when they are asked for; from any thread."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        stub = replica.stub
        self._labels = (stub.id.app, stub.id.name, replica.replica_id)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges, in Prometheus's terms."""
        stats, ongoing = self._replica.values.stats, self._replica.occupancy.ongoing
        yield self._gauge("meshgen_ongoing_requests", "Calls that run.", ongoing)
        yield self._gauge("meshgen_stored_values", "Values kept for others.", stats.count)
        stored = GaugeMetricFamily(
            "meshgen_stored_bytes", "Bytes of them.", labels=(*_LABELS, "place")
        )
        stored.add_metric((*self._labels, "memory"), stats.bytes)
        stored.add_metric((*self._labels, "disk"), stats.spilled_bytes)
        yield stored

    def _gauge(self, name: str, text: str, value: int) -> GaugeMetricFamily:
        gauge = GaugeMetricFamily(name, text, labels=_LABELS)
        gauge.add_metric(self._labels, value)
        return gauge


@contextmanager
def serving_metrics(replica: Replica, address: str) -> Iterator[int]:
    """Serve them over HTTP at `HOST:PORT`, on a thread of its own; gives the port.

    Raises:
        OSError: The address cannot be bound.
    """
    host, _, port = address.rpartition(":")
    registry = CollectorRegistry()
    registry.register(ReplicaCollector(replica))
    server, thread = start_http_server(int(port), host, registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
