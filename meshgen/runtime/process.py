"""What every process of a mesh does alike: find its mesh, and end with its supervisor."""

from __future__ import annotations

import asyncio
import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from meshgen.compat import install_if_asked
from meshgen.runtime.caller import MeshCaller
from meshgen.runtime.certificates import CertificateFolder
from meshgen.runtime.meshfile import MeshFile
from meshgen.runtime.network import GrpcNetwork
from meshgen.serve.context import process
from meshgen.settings import Settings


def run_until_done(work: Coroutine[Any, Any, int]) -> int:
    """Run a process's whole work on an event loop of its own; the exit status.

    uvloop where there is one: a small call is a sixth quicker by it.
    """
    install_if_asked()  # before anything of the user's is imported
    try:
        import uvloop
    except ImportError:  # pragma: no cover - Windows, where it is not installed
        return asyncio.run(work)
    return uvloop.run(work)


def collect_less_garbage() -> None:
    """Leave what is there now, imports and the user's object, out of garbage collections.

    And look for cycles after ten thousand new objects in place of 700, which a hundred calls under
    way are already. What is in no cycle is freed at once as ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@asynccontextmanager
async def open_caller(settings: Settings, name: str = "gateway") -> AsyncIterator[MeshCaller]:
    """The caller of this process, which handles that are unpickled here find as well."""
    follow_supervisor(settings.lifeline_fd)
    network = GrpcNetwork(
        template=settings.resolver, name=name, certificates=read_certificates(settings)
    )
    async with MeshCaller(MeshFile(settings.mesh_file), network) as caller:
        process.caller = caller
        try:
            yield caller
        finally:
            process.caller = None


def read_certificates(settings: Settings) -> CertificateFolder | None:
    """This process's certificates, if its mesh has them."""
    return None if settings.certs is None else CertificateFolder(settings.certs)


def follow_supervisor(lifeline_fd: int) -> None:
    """End this process at once when its supervisor is gone, however that ended; -1 for none."""
    if lifeline_fd < 0:
        return

    def wait_for_the_end() -> None:
        # Nothing is ever written to it: a read returns when the other end is closed.
        os.read(lifeline_fd, 1)
        if os.getpgrp() == os.getpid():  # whatever user code has started goes as well
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait_for_the_end, name="lifeline", daemon=True).start()


def leave(status: int) -> NoReturn:
    """End this process, although user code may have left threads that never end."""
    if all(each.daemon or each is threading.main_thread() for each in threading.enumerate()):
        sys.exit(status)
    # All that `sys.exit` would do, but for waiting for them.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def stop_signal() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop
