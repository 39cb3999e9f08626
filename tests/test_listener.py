"""Sockets that listen."""

from __future__ import annotations

import socket

import pytest

from meshgen.errors import DeployError
from meshgen.listener import bind


def test_the_listening_socket_names_its_protocol() -> None:
    """Or asyncio leaves Nagle's algorithm on, and every answer takes 40 ms."""
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


def test_a_busy_port_is_one_sentence_with_what_to_do() -> None:
    """It names the address."""
    with bind("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(DeployError, match=rf"127.0.0.1:{port}: .*in use.*choose another"):
            bind("127.0.0.1", port)
