"""The vocabulary: ids, payload sizes and the time a request has left."""

from __future__ import annotations

import array
import time
from concurrent.futures import ThreadPoolExecutor

from meshgen.types import DeploymentID, Payload, RequestContext, new_id


def test_ids_are_unique_across_threads() -> None:
    """Two calls never share an id."""
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: new_id(), range(2000)))
    assert len(set(ids)) == 2000


def test_a_deployment_id_reads_as_app_and_name() -> None:
    """This is the form that error messages and the wire use."""
    assert str(DeploymentID("shop", "Cart")) == "shop/Cart"


def test_a_payload_counts_bytes_not_elements() -> None:
    """Buffers of wide elements and of several dimensions count in full."""
    wide = memoryview(array.array("d", [1.0, 2.0]))
    table = memoryview(bytes(12)).cast("B", (3, 4))
    assert Payload(b"abc", [wide, table]).size == 3 + 16 + 12


def test_time_left_is_none_without_a_deadline_and_never_negative() -> None:
    """A deadline that has passed leaves no time."""
    assert RequestContext().time_left() is None
    assert RequestContext(deadline=time.monotonic() - 5).time_left() == 0.0
    left = RequestContext(deadline=time.monotonic() + 100).time_left()
    assert left is not None and 90 < left <= 100
