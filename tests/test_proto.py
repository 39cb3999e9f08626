"""The generated code of the wire contract is what its .proto file says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def test_generated_code_is_in_step_with_the_proto(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={_ROOT / 'protos'}"]
    out = [f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", "meshgen/v1/mesh.proto"]
    subprocess.run([*protoc, *out], check=True, timeout=60)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.py*")}
    assert {path.name for path in made} == {"mesh_pb2.py", "mesh_pb2.pyi"}
    assert made == {path: (_ROOT / path).read_bytes() for path in made}
