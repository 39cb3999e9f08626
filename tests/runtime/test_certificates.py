"""Certificates of a process that runs: rotated ones count from the next handshake on."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from meshgen.build.certs import Owner, issue_client, write_certificates
from meshgen.build.rotation import forget_authorities, rotate_authority, rotate_members
from meshgen.edges import Identity
from meshgen.runtime.certificates import CertificateFolder
from meshgen.runtime.server import serving
from tests.runtime.replicas import lone_replica, over_tcp


class _Echo:
    async def echo(self, value: object) -> object:
        return value


class Member:
    """A member's own folder, as its container sees it: mounts of single files."""

    def __init__(self, certs: Path, name: str, folder: Path) -> None:
        folder.mkdir()
        for part in ("cert", "key"):
            (folder / f"{part}.pem").symlink_to(certs / name / f"{part}.pem")
        (folder / "ca.pem").symlink_to(certs / "ca.pem")
        self.folder = folder
        self.source = CertificateFolder(folder)


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    """The certificates of a mesh."""
    identities = [Identity(project="default", name=name) for name in ("echo", "front")]
    owner = Owner(uid=os.getuid(), gid=os.getgid())
    write_certificates(tmp_path / "certs", identities, owner)
    return tmp_path / "certs"


@pytest.fixture
def echo(certs: Path, tmp_path: Path) -> Member:
    """The one that is called."""
    return Member(certs, "echo", tmp_path / "echo")


@pytest.fixture
def front(certs: Path, tmp_path: Path) -> Member:
    """The one that calls."""
    return Member(certs, "front", tmp_path / "front")


@pytest.fixture
async def address(echo: Member) -> AsyncIterator[str]:
    """Where the echo serves, with whatever its folder holds."""
    async with (
        lone_replica(_Echo, name="Echo") as replica,
        serving(replica, "127.0.0.1:0", echo.source) as address,
    ):
        yield address


async def _served_by(address: str, member: Path) -> bool:
    """Whether a new connection with these certificates is let in."""
    own = [(member / f"{name}.pem").read_bytes() for name in ("ca", "key", "cert")]
    options = [("grpc.ssl_target_name_override", "echo"), ("grpc.use_local_subchannel_pool", 1)]
    credentials = grpc.ssl_channel_credentials(*own)
    async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
        call = channel.unary_unary("/no.such.Service/Rpc")(b"", timeout=10)
        return await call.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_connection_outlives_the_rotation_of_both_ends(
    certs: Path, echo: Member, front: Member
) -> None:
    """No call is lost, and no process starts again."""
    async with (
        lone_replica(_Echo, name="Echo") as replica,
        over_tcp(replica, server=echo.source, client=front.source) as mesh,
    ):
        assert await mesh.handle.echo.remote(1) == 1
        rotate_members(certs)
        assert await mesh.handle.echo.remote(2) == 2
        assert await _served_by(mesh.addresses[0], front.folder)


async def test_a_server_shows_the_rotated_certificate(
    certs: Path, front: Member, address: str
) -> None:
    """So that its old key may leak: whoever trusts only what is new still gets in."""
    rotate_authority(certs)
    assert await _served_by(address, front.folder), "the old certificates are good until the end"
    rotate_members(certs)
    forget_authorities(certs)
    assert await _served_by(address, front.folder)


async def test_a_forgotten_authority_lets_nobody_in(
    certs: Path, tmp_path: Path, address: str
) -> None:
    """Which is how a client's certificate is withdrawn before its end."""
    client = Identity(project="default", name="dora", is_client=True)
    folder = issue_client(certs, client, days=1, out=tmp_path / "dora")
    assert await _served_by(address, folder)
    rotate_authority(certs)
    rotate_members(certs)
    (folder / "ca.pem").write_bytes((certs / "ca.pem").read_bytes())
    assert await _served_by(address, folder)
    forget_authorities(certs)
    assert not await _served_by(address, folder)


async def test_an_expired_certificate_is_refused(certs: Path, tmp_path: Path, address: str) -> None:
    """Although the mesh's own authority signed it."""
    client = Identity(project="default", name="dora", is_client=True)
    folder = issue_client(certs, client, days=-0.01, out=tmp_path / "dora")
    assert not await _served_by(address, folder)


def test_half_of_a_rotation_changes_nothing(
    certs: Path, echo: Member, caplog: pytest.LogCaptureFixture
) -> None:
    """A certificate without its key, or no certificate at all: the last that fit stay in use."""
    before = echo.source.current()
    (certs / "echo" / "key.pem").write_bytes((certs / "front" / "key.pem").read_bytes())
    assert echo.source.current() is before
    (certs / "echo" / "cert.pem").write_text("half of a certifi")
    assert echo.source.current() is before
    assert "those before are" in caplog.text


def test_a_rotation_is_seen_at_once(certs: Path, echo: Member) -> None:
    """By the next one who asks."""
    before = echo.source.current()
    rotate_members(certs)
    after = echo.source.current()
    assert after.cert != before.cert and after.key != before.key
    assert after.cert == (certs / "echo" / "cert.pem").read_bytes()
