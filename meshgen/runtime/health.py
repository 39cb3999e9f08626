"""grpc.health.v1, answered by a thread that user code cannot block."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from meshgen.runtime.channel import SERVER_OPTIONS

_STATUS = health_pb2.HealthCheckResponse


class HealthServer:
    """A server of its own, in plain text, for probes of this host: the whole, and each service."""

    def __init__(self, listen: str, services: tuple[str, ...]) -> None:
        self._services = ("", *services)
        self._servicer = health.HealthServicer()
        self._server = grpc.server(
            ThreadPoolExecutor(1, thread_name_prefix="health"), options=SERVER_OPTIONS
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, self._server)
        self.port = self._server.add_insecure_port(listen)

    def __enter__(self) -> HealthServer:
        self.set_serving(False)
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(grace=None).wait(1.0)

    def set_serving(self, serving: bool) -> None:
        """What probes are told from now on."""
        status = _STATUS.SERVING if serving else _STATUS.NOT_SERVING
        for service in self._services:
            self._servicer.set(service, status)
