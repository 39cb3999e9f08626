"""Who exists: sockets in a folder, addresses behind a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshgen.errors import OptionError
from meshgen.runtime.resolver import DnsResolver, FolderResolver, make_resolver
from meshgen.settings import socket_folder
from meshgen.stub import DeploymentStub
from meshgen.types import DeploymentID

STUB = DeploymentStub(id=DeploymentID("shop", "Cart"), service="cart")


async def test_a_folder_lists_its_sockets_in_order(tmp_path: Path) -> None:
    """Whatever else lies there is no replica."""
    for name in ("1.sock", "0.sock", "notes.txt"):
        (tmp_path / name).touch()
    assert await FolderResolver(tmp_path).addresses() == [
        f"unix:{tmp_path}/0.sock",
        f"unix:{tmp_path}/1.sock",
    ]


async def test_a_folder_that_is_not_there_has_no_replicas(tmp_path: Path) -> None:
    """The first replica makes it."""
    assert await FolderResolver(tmp_path / "later").addresses() == []


async def test_a_path_that_is_no_folder_has_no_replicas(tmp_path: Path) -> None:
    """Looking on is all there is to do."""
    (tmp_path / "file").touch()
    assert await FolderResolver(tmp_path / "file").addresses() == []


async def test_a_replica_that_came_later_is_found(tmp_path: Path) -> None:
    """Every look is a new one."""
    resolver = FolderResolver(tmp_path)
    assert await resolver.addresses() == []
    (tmp_path / "0.sock").touch()
    assert len(await resolver.addresses()) == 1


async def test_a_name_gives_one_address_for_each_replica() -> None:
    """As gRPC takes them."""
    assert await DnsResolver("127.0.0.1", 50051).addresses() == ["127.0.0.1:50051"]
    assert await DnsResolver("::1", 50051).addresses() == ["ipv6:[::1]:50051"]


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 64 + ".invalid"])
async def test_a_name_that_nobody_knows_has_no_replicas(host: str) -> None:
    """A service scaled to zero has no DNS entry; nor has what cannot be a name."""
    assert await DnsResolver(host, 50051).addresses() == []


def test_local_replicas_are_found_in_their_services_folder(tmp_path: Path) -> None:
    """The same folder that their processes are told to bind in."""
    resolver = make_resolver(f"unix:{tmp_path}", STUB)
    assert isinstance(resolver, FolderResolver)
    assert vars(resolver)["_folder"] == socket_folder(tmp_path, "shop", "cart")


async def test_a_template_may_have_the_services_name_in_it() -> None:
    """Compose names services as they are, Swarm as `tasks.NAME`."""
    resolver = make_resolver("dns:tasks.{service}:50051", STUB)
    assert isinstance(resolver, DnsResolver)
    assert (vars(resolver)["_host"], vars(resolver)["_port"]) == ("tasks.cart", 50051)


@pytest.mark.parametrize("template", ["", "dns:cart", "dns:cart:port", "http://cart:1", "dns::1"])
def test_any_other_template_is_refused(template: str) -> None:
    """The message says what was expected."""
    with pytest.raises(OptionError, match="expected unix:FOLDER, dns:HOST:PORT or compose"):
        make_resolver(template, STUB)
