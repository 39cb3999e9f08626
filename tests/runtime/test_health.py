"""grpc.health.v1 as probes of an orchestrator see it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from meshgen.runtime.health import HealthServer

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICES = ("", "meshgen.v1.MeshService", "shop.cart.v1.CartService")


@contextmanager
def _probe(server: HealthServer) -> Iterator[health_pb2_grpc.HealthStub]:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)


def _ask(stub: health_pb2_grpc.HealthStub, service: str) -> int:
    request = health_pb2.HealthCheckRequest(service=service)
    return int(stub.Check(request, timeout=10).status)


@pytest.mark.parametrize("service", SERVICES)
def test_a_probe_is_told_the_truth(service: str) -> None:
    """Of the whole and of each service: not before it serves, not when it leaves."""
    with HealthServer("127.0.0.1:0", SERVICES[1:]) as server, _probe(server) as stub:
        told = [_ask(stub, service)]
        for serving in (True, False):
            server.set_serving(serving)
            told.append(_ask(stub, service))
        assert told == [NOT_SERVING, SERVING, NOT_SERVING]


def test_another_service_is_unknown() -> None:
    """A probe that asks for the wrong one is told so."""
    with HealthServer("127.0.0.1:0", ()) as server, _probe(server) as stub:
        with pytest.raises(grpc.RpcError) as caught:
            _ask(stub, "shop.till.v1.TillService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_user_code_that_blocks_the_loop_does_not_look_dead() -> None:
    """The answer comes from a thread of its own."""
    with HealthServer("127.0.0.1:0", ()) as server, _probe(server) as stub:
        server.set_serving(True)
        told: list[int] = []
        asking = threading.Thread(target=lambda: told.append(_ask(stub, "")))
        asking.start()
        asking.join(10)  # this blocks the loop of this test
        assert told == [SERVING]


def test_watching_probes_do_not_keep_others_from_asking() -> None:
    """A watch is open for as long as its probe likes."""
    with HealthServer("127.0.0.1:0", ()) as server, _probe(server) as stub:
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        assert [next(watch).status for watch in watches] == [NOT_SERVING] * 3
        assert _ask(stub, "") == NOT_SERVING
        for watch in watches:
            watch.cancel()
