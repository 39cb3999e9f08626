"""What every process of a mesh does alike."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshgen.errors import NotServingError
from meshgen.runtime.certificates import Certificates
from meshgen.runtime.process import open_caller, read_certificates, stop_signal
from meshgen.serve.context import current_caller
from meshgen.settings import Settings


def _settings(folder: Path, **more: object) -> Settings:
    return Settings(mesh_file=folder / "mesh.json", resolver=f"unix:{folder}", **more)  # type: ignore[arg-type]


async def test_handles_find_the_processes_caller(tmp_path: Path) -> None:
    """As long as it is open."""
    async with open_caller(_settings(tmp_path)) as caller:
        assert current_caller() is caller
    with pytest.raises(NotServingError):
        current_caller()


def test_certificates_are_read_where_the_mesh_has_them(tmp_path: Path) -> None:
    """A mesh of Unix sockets has none."""
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").write_text(name)
    assert read_certificates(_settings(tmp_path)) is None
    found = read_certificates(_settings(tmp_path, certs=tmp_path))
    assert found is not None
    assert found.current() == Certificates(ca=b"ca", cert=b"cert", key=b"key")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_sets_the_stop_event(number: signal.Signals) -> None:
    """Rather than end the process in the midst of things."""
    stop = stop_signal()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(stop.wait(), 10)
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(each)


_FOLLOWER = """
import sys, threading
from meshgen.runtime.process import follow_supervisor
follow_supervisor(int(sys.argv[1]))
print("following", flush=True)
threading.Event().wait()
"""


def test_a_process_ends_when_its_lifeline_does() -> None:
    """At once, whatever it is doing."""
    lifeline, holds = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", _FOLLOWER, str(lifeline)],
        pass_fds=[lifeline],
        stdout=subprocess.PIPE,
    )
    os.close(lifeline)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"following\n"
        assert process.poll() is None
        os.close(holds)
        assert process.wait(30) == 1
