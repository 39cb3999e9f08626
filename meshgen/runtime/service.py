"""The process of one replica: `python -m meshgen.runtime.service`, told by `MESHGEN_*` variables.

construct the user's object → bind the address → SERVING … SIGTERM or unhealthy → DRAINING → gone
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack

from meshgen.errors import MeshError
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.departure import Departure
from meshgen.runtime.edgewatch import EdgeWatch
from meshgen.runtime.gate import OPEN, Gate
from meshgen.runtime.healthcheck import HealthCheck
from meshgen.runtime.loopwatch import LoopWatch
from meshgen.runtime.process import (
    collect_less_garbage,
    leave,
    open_caller,
    read_certificates,
    run_until_done,
)
from meshgen.runtime.reconfigure import reconfiguring, reload_signal
from meshgen.runtime.replica import Replica
from meshgen.runtime.reports import Reports, reporting
from meshgen.runtime.server import serving
from meshgen.runtime.values import ValueStore
from meshgen.serve.context import process
from meshgen.settings import Settings
from meshgen.spec import ServiceSpec
from meshgen.specfiles import LOCK, read_service


def main() -> None:
    """Run the replica that the environment describes; exit 1 if it cannot be constructed."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environment()
    except MeshError as exc:
        sys.exit(f"meshgen: {exc}")
    leave(run_until_done(run(settings)))


async def run(settings: Settings) -> int:
    """Serve until told to stop or unhealthy; the exit status."""
    assert settings.service_dir is not None
    spec = read_service(settings.service_dir)
    name = f"{spec.stub.id}#{settings.replica_id}"
    reports, reload = Reports(settings.report_fd), reload_signal()
    with ExitStack() as stack:
        set_health = _health(settings, spec, stack)
        async with open_caller(settings, name) as caller:
            replica = Replica(spec, caller, settings.replica_id, _store(settings, name))
            replica.lock_file = settings.mesh_file.with_name(LOCK)
            if not await _construct(replica, caller, reports):
                return 1
            certificates = read_certificates(settings)
            gate = _gate(caller, spec, is_checked=certificates is not None)
            async with serving(replica, settings.listen, certificates, gate):
                departure = Departure(replica, settings.listen, set_health, reports)
                set_health(True)
                collect_less_garbage()
                reports.tell(phase="serving")
                _serve_metrics(settings, replica, stack)
                with LoopWatch(name):
                    async with (
                        reporting(replica, reports),
                        reconfiguring(replica, settings.service_dir, reload, reports),
                    ):
                        await _until_due(replica, departure, reports)
                    await replica.drain()
            await replica.close()
    return departure.status


async def _until_due(replica: Replica, departure: Departure, reports: Reports) -> None:
    with _checking(replica, reports, departure):
        await departure.due()


def _checking(replica: Replica, reports: Reports, departure: Departure) -> HealthCheck:
    return HealthCheck(
        replica.origin,
        replica.spec.options,
        replica.check_health,
        tell=lambda count, error: reports.tell(health_failures=count, health_error=error),
        give_up=departure.give_up,
    )


def _gate(caller: MeshCaller, spec: ServiceSpec, *, is_checked: bool) -> Gate:
    """Who may call here. Where nobody is asked, it is said which calls of its own would be refused
    elsewhere."""
    if is_checked:
        return Gate(spec.stub.id, caller.mesh)
    caller.on_edge = EdgeWatch(spec.stub, caller.mesh).called
    return OPEN


def _store(settings: Settings, owner: str) -> ValueStore:
    if settings.object_store_memory is None:
        return ValueStore(owner, spill_dir=settings.spill_dir)
    return ValueStore(owner, capacity=settings.object_store_memory, spill_dir=settings.spill_dir)


def _serve_metrics(settings: Settings, replica: Replica, stack: ExitStack) -> None:
    if settings.metrics:
        # Imported where somebody asks for it.
        from meshgen.runtime.metrics import serving_metrics

        stack.enter_context(serving_metrics(replica, settings.metrics))


def _health(settings: Settings, spec: ServiceSpec, stack: ExitStack) -> Callable[[bool], None]:
    if not settings.health:
        return lambda _serving: None
    # Imported where a probe asks for it: local processes are watched by their supervisor.
    from meshgen.naming import grpc_service
    from meshgen.runtime.health import HealthServer

    names = ("meshgen.v1.MeshService", grpc_service(spec.stub.id.app, spec.stub.id.name))
    return stack.enter_context(HealthServer(settings.health, names)).set_serving


async def _construct(replica: Replica, caller: MeshCaller, reports: Reports) -> bool:
    """Whether the user's constructor succeeded; its traceback is shown and reported if not."""
    try:
        await replica.start(caller.find)
    except BaseException as exc:  # user code: SystemExit in a constructor is a failure too
        if isinstance(exc, asyncio.CancelledError):
            raise
        text = format_user_traceback(exc)
        print(f"{replica.stub.id.name} could not be constructed:\n{text}", file=sys.stderr)
        reports.tell(phase="failed", error=text)
        return False
    process.replica = replica.context
    process.store = replica.store
    return True


if __name__ == "__main__":
    main()
