"""gRPC's poller: chosen in time, and only by who may."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from meshgen.runtime.poller import OLDER

_PROGRAM = """
import os, sys
import meshgen.runtime
assert "grpc" not in sys.modules
print(os.environ.get("GRPC_EXPERIMENTS"))
"""


@pytest.mark.parametrize(("set_by_user", "read"), [(None, OLDER), ("", ""), ("tcp_x", "tcp_x")])
def test_it_is_chosen_before_grpc_is_imported(set_by_user: str | None, read: str) -> None:
    """After that gRPC does not look again; what the user has set stays."""
    environment = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    if set_by_user is not None:
        environment["GRPC_EXPERIMENTS"] = set_by_user
    told = subprocess.check_output([sys.executable, "-c", _PROGRAM], env=environment, text=True)
    assert told.rstrip("\n") == read
