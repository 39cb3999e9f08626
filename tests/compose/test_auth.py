"""Tokens and TLS at the published ports of a mesh in containers."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest

from tests.compose.mesh import ComposeMesh, build_mesh
from tests.tlscerts import Certificates, for_localhost

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = """
from meshgen import serve


@serve.deployment
class Greeter:
    async def greet(self, name: str) -> str:
        return f"Hello {name}"


app = Greeter.bind()
"""
PATH = "/{}.greeter.v1.GreeterService/Greet"


@dataclass(frozen=True, slots=True)
class Guarded:
    """A mesh that runs, and the authority of its gateway's certificate."""

    mesh: ComposeMesh
    certificates: Certificates

    @property
    def token_file(self) -> Path:
        """On the host."""
        return self.mesh.folder / "certs" / "gateway" / "tokens"

    def greet(self, token: str) -> httpx.Response:
        """An answer over HTTPS."""
        context = ssl.create_default_context(cafile=str(self.certificates.ca))
        with httpx.Client(verify=context, trust_env=False, timeout=30) as web:
            url = f"https://localhost:{self.mesh.port}/Greeter/greet"
            headers = {"authorization": f"Bearer {token}"} if token else {}
            return web.post(url, json={"name": "Dora"}, headers=headers)

    def call(self, token: str) -> bytes:
        """The same over gRPC."""
        credentials = grpc.ssl_channel_credentials(self.certificates.ca.read_bytes())
        path = PATH.format(self.mesh.project.replace("-", "_"))
        with grpc.secure_channel(f"localhost:{self.mesh.grpc_port}", credentials) as channel:
            metadata = (("authorization", f"Bearer {token}"),)
            call = channel.unary_unary(path)
            answer: bytes = call(b"\x0a\x04Dora", metadata=metadata, timeout=30)
            return answer


@pytest.fixture(scope="module")
def guarded(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """On loopback, where requests need a token on purpose."""
    folder = tmp_path_factory.mktemp("auth")
    (folder / "app.py").write_text(APP)
    mesh = build_mesh(f"{folder / 'app.py'}:app", folder)
    certificates = for_localhost(folder / "own")
    certificates.key.chmod(0o644)  # for the user that containers run as
    with (mesh.folder / ".env").open("a") as file:
        file.write("AUTH=always\nCOMPOSE_FILE=compose.yaml:compose.tls.yaml\n")
        file.write(f"TLS_CERT={certificates.cert}\nTLS_KEY={certificates.key}\n")
    try:
        mesh.up()  # which waits until the gateway is healthy: its probe needs no token
        yield Guarded(mesh, certificates)
    finally:
        mesh.down()


def test_requests_need_the_token_that_the_build_made(guarded: Guarded) -> None:
    """Over HTTPS and gRPC, both with the user's certificate."""
    token = guarded.token_file.read_text().strip()
    assert guarded.greet(token).json() == {"result": "Hello Dora"}
    assert guarded.call(token) == b"\x0a\x0aHello Dora"
    for wrong in ("", "wrong"):
        assert guarded.greet(wrong).status_code == 401
        with pytest.raises(grpc.RpcError) as caught:
            guarded.call(wrong)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_token_is_changed_without_a_restart(guarded: Guarded) -> None:
    """Written into the same file, which the container has open."""
    old = guarded.token_file.read_text().strip()
    guarded.token_file.write_text("another-token\n")
    assert guarded.greet("another-token").status_code == 200
    assert guarded.greet(old).status_code == 401
    guarded.token_file.write_text(f"{old}\n")
    assert guarded.greet(old).status_code == 200


def test_the_token_is_in_no_image(guarded: Guarded) -> None:
    """Nor in what the gateway says."""
    mesh = guarded.mesh
    token = guarded.token_file.read_text().strip()
    found = mesh.docker(
        *("run", "--rm", "--user", "0:0", mesh.image("gateway")),
        *(
            "sh",
            "-c",
            f"grep -rl {token} /mesh /opt/venv/lib/python3*/site-packages/meshgen || true",
        ),
    )
    assert found == ""
    assert token not in mesh.compose("logs", "--no-color")
    mode = guarded.token_file.stat()
    assert mode.st_mode & 0o777 == 0o600
    assert mode.st_uid == (10001 if os.getuid() == 0 else os.getuid())
