"""A generated client and a server with a certificate."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import grpc
import pytest

from meshgen.build.certs import Owner, write_certificates
from meshgen.build.project import Built
from meshgen.edges import Identity
from tests.build.client.apps import serving
from tests.build.client.conftest import Service


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """An authority, and what it issued for this machine."""
    write_certificates(
        tmp_path / "certs",
        [Identity(project="test", name="localhost")],
        Owner(uid=os.getuid(), gid=os.getgid()),
    )
    return tmp_path / "certs"


async def test_a_client_trusts_the_authorities_that_it_is_given(
    built: Built, service: Service, certs: Path
) -> None:
    """Both clients; the token travels, too. With this machine's authorities, it trusts nobody."""
    made = built.contract.exposed["Front"]
    front = sys.modules["parrot_app"].Front.func_or_class()
    own = certs / "localhost"
    pair = ((own / "key.pem").read_bytes(), (own / "cert.pem").read_bytes())
    roots = (certs / "ca.pem").read_bytes()
    package, seen = service.package, service.seen
    with serving([(made, front)], grpc.ssl_server_credentials([pair]), seen) as port:
        target = f"localhost:{port}"
        with package.ParrotClient(target, root_certificates=roots, token="t") as client:
            assert client.front("Dora") == "Hello Dora"
        assert seen[-1]["authorization"] == "Bearer t"
        async with package.AsyncParrotClient(target, root_certificates=roots) as client:
            assert await client.front("Dora") == "Hello Dora"
        for options in ({"tls": True}, {}):
            with package.ParrotClient(target, timeout=10, **options) as client:
                with pytest.raises(grpc.RpcError) as caught:
                    client.front("Dora")
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
