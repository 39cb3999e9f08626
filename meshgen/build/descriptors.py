"""Compile .proto files with the protoc inside of grpcio-tools, offline."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from meshgen.errors import MeshError


def compile_descriptors(protos: Mapping[str, bytes]) -> bytes:
    """The FileDescriptorSet of these files, by path below their root.

    Raises:
        MeshError: protoc refuses them, which is a bug of the templates.
    """
    with tempfile.TemporaryDirectory(prefix="meshgen-protos-") as folder:
        root = Path(folder)
        for name, content in protos.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        output = root / "descriptors.binpb"
        # A process of its own: protoc writes its complaints to file descriptor 2 directly.
        ran = subprocess.run(
            [
                *(sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={root}"),
                *("--include_imports", f"--descriptor_set_out={output}"),
                *(str(root / name) for name in sorted(protos)),
            ],
            capture_output=True,
            text=True,
        )
        if ran.returncode != 0:
            raise MeshError(f"protoc refused the generated .proto files: {ran.stderr.strip()}")
        return output.read_bytes()
