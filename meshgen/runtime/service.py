"""The process of one replica: `python -m meshgen.runtime.service`, told by `MESHGEN_*` variables.

construct the user's object → bind the address → SERVING … SIGTERM → DRAINING → gone
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from meshgen.errors import MeshError
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.codec import format_user_traceback
from meshgen.runtime.process import (
    collect_less_garbage,
    leave,
    open_caller,
    read_certificates,
    report,
    run_until_done,
    stop_signal,
)
from meshgen.runtime.replica import Replica
from meshgen.runtime.server import serving
from meshgen.runtime.values import ValueStore
from meshgen.serve.context import process
from meshgen.settings import Settings, leaving_mark
from meshgen.spec import ServiceSpec, read_service

# How old what the supervisor knows of this replica's values may be.
_REPORT_SECONDS = 0.5


def main() -> None:
    """Run the replica that the environment describes; exit 1 if it cannot be constructed."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = Settings.from_environment()
    except MeshError as exc:
        sys.exit(f"meshgen: {exc}")
    leave(run_until_done(run(settings)))


async def run(settings: Settings) -> int:
    """Serve until told to stop; the exit status."""
    assert settings.service_dir is not None
    spec = read_service(settings.service_dir)
    name = f"{spec.stub.id}#{settings.replica_id}"
    with ExitStack() as stack:
        set_health = _health(settings, spec, stack)
        async with open_caller(settings, name) as caller:
            replica = Replica(spec, caller, settings.replica_id, _store(settings, name))
            if not await _construct(replica, caller, settings):
                return 1
            async with serving(replica, settings.listen, read_certificates(settings)):
                stop = stop_signal()
                set_health(True)
                collect_less_garbage()
                report(settings, phase="serving")
                _serve_metrics(settings, replica, stack)
                async with _reporting(settings, replica):
                    await stop.wait()
                set_health(False)
                _leave_folder(settings.listen)
                await replica.drain()
            await replica.close()
    return 0


def _store(settings: Settings, owner: str) -> ValueStore:
    if settings.object_store_memory is None:
        return ValueStore(owner, spill_dir=settings.spill_dir)
    return ValueStore(owner, capacity=settings.object_store_memory, spill_dir=settings.spill_dir)


def _serve_metrics(settings: Settings, replica: Replica, stack: ExitStack) -> None:
    if settings.metrics:
        # Imported where somebody asks for it.
        from meshgen.runtime.metrics import serving_metrics

        stack.enter_context(serving_metrics(replica, settings.metrics))


@asynccontextmanager
async def _reporting(settings: Settings, replica: Replica) -> AsyncIterator[None]:
    """Tell the supervisor how much this replica keeps for others, when that has changed."""
    task = asyncio.create_task(_report_values(settings, replica))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _report_values(settings: Settings, replica: Replica) -> None:
    changed = asyncio.Event()
    replica.values.on_change = changed.set
    told = replica.values.stats
    while settings.report_fd >= 0:
        await changed.wait()
        changed.clear()
        # What else changes meanwhile is told along with it.
        await asyncio.sleep(_REPORT_SECONDS)
        stats = replica.values.stats
        if stats != told:
            told = stats
            kept = stats.bytes + stats.spilled_bytes
            report(settings, stored_values=stats.count, stored_bytes=kept)


def _health(settings: Settings, spec: ServiceSpec, stack: ExitStack) -> Callable[[bool], None]:
    if not settings.health:
        return lambda _serving: None
    # Imported where a probe asks for it: local processes are watched by their supervisor.
    from meshgen.naming import grpc_service
    from meshgen.runtime.health import HealthServer

    names = ("meshgen.v1.MeshService", grpc_service(spec.stub.id.app, spec.stub.id.name))
    return stack.enter_context(HealthServer(settings.health, names)).set_serving


async def _construct(replica: Replica, caller: MeshCaller, settings: Settings) -> bool:
    """Whether the user's constructor succeeded; its traceback is shown and reported if not."""
    try:
        await replica.start(caller.find)
    except BaseException as exc:  # user code: SystemExit in a constructor is a failure too
        if isinstance(exc, asyncio.CancelledError):
            raise
        text = format_user_traceback(exc)
        print(f"{replica.stub.id.name} could not be constructed:\n{text}", file=sys.stderr)
        report(settings, phase="failed", error=text)
        return False
    process.replica = replica.context
    process.store = replica.store
    return True


def _leave_folder(listen: str) -> None:
    """Let nobody new find this replica; who was told of values here still can."""
    if listen.startswith("unix:"):
        leaving_mark(Path(listen.removeprefix("unix:"))).touch()


if __name__ == "__main__":
    main()
