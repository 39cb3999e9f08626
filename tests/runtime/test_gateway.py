"""The gateway's process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from meshgen.listener import bind
from meshgen.settings import Settings
from meshgen.spec import MeshSpec
from meshgen.specfiles import write_mesh


@contextmanager
def process(folder: Path, port: int, report_fd: int = -1) -> Iterator[subprocess.Popen[str]]:
    """A gateway process of a mesh without applications."""
    write_mesh(MeshSpec(), folder / "mesh.json")
    settings = Settings(
        mesh_file=folder / "mesh.json",
        resolver=f"unix:{folder}/{{app}}/{{service}}",
        http_port=port,
        report_fd=report_fd,
    )
    gateway = subprocess.Popen(
        [sys.executable, "-m", "meshgen.runtime.gateway"],
        env={**os.environ, **settings.environment()},
        pass_fds=() if report_fd < 0 else (report_fd,),
        stderr=subprocess.PIPE,
        text=True,
    )
    with gateway:
        try:
            yield gateway
        finally:
            gateway.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_reports_its_port_and_ends_well_when_told_to(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Port 0 is any; a stop signal is a normal end; stderr has the access log, without probes."""
    reads, writes = os.pipe()
    with process(tmp_path, 0, writes) as gateway, os.fdopen(reads) as reports:
        os.close(writes)
        report = json.loads(reports.readline())
        assert report["phase"] == "serving"
        gateway.send_signal(signal.SIGHUP)  # which is for replicas
        url = f"http://127.0.0.1:{report['port']}"
        assert httpx.get(f"{url}/-/healthz", timeout=30).text == "success"
        assert httpx.get(f"{url}/-/routes", timeout=30).json() == {}
        gateway.send_signal(number)
        _, errors = gateway.communicate(timeout=30)
    assert gateway.returncode == 0
    [line] = errors.splitlines()
    assert '"GET /-/routes" 200' in line


def test_the_process_says_in_one_line_why_it_cannot_serve(tmp_path: Path) -> None:
    """It ends with status 1 and no traceback, and its supervisor is told the same."""
    reads, writes = os.pipe()
    with bind("127.0.0.1", 0) as taken, os.fdopen(reads) as reports:
        with process(tmp_path, taken.getsockname()[1], writes) as gateway:
            os.close(writes)
            _, errors = gateway.communicate(timeout=60)
        report = json.loads(reports.readline())
    assert gateway.returncode == 1
    [line] = errors.splitlines()
    assert line.startswith("meshgen: cannot serve HTTP on 127.0.0.1:")
    assert report == {"phase": "failed", "error": line.removeprefix("meshgen: ")}
