"""Options of the mesh as a whole."""

from __future__ import annotations

from typing import Any

import pytest

from meshgen.errors import OptionError
from meshgen.serve.config import EdgeOptions, GRPCOptions, HTTPOptions


@pytest.mark.parametrize("cls", [HTTPOptions, GRPCOptions])
def test_a_port_has_a_range(cls: Any) -> None:
    """Both ends of it are fine."""
    assert [cls(port=port).port for port in (0, 65535)] == [0, 65535]
    with pytest.raises(OptionError, match="port must be from 0 to 65535, got 65536"):
        cls(port=65536)


@pytest.mark.parametrize("origin", ["*", "https://shop.example", "http://localhost:3000"])
def test_an_origin_is_scheme_and_host(origin: str) -> None:
    """Or any."""
    assert EdgeOptions(cors_origins=[origin]).cors_origins == [origin]


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://", ""])
def test_all_else_is_no_origin(origin: str) -> None:
    """A browser would never send it, so nobody would be let in."""
    with pytest.raises(OptionError, match="is no origin; give scheme and host"):
        EdgeOptions(cors_origins=[origin])
    with pytest.raises(OptionError, match="must be a list"):
        EdgeOptions(cors_origins="https://shop.example")


def test_a_token_file_and_no_tokens_do_not_go_together() -> None:
    """One of them was not meant."""
    with pytest.raises(OptionError, match="choose one"):
        EdgeOptions(auth=False, auth_token_file="tokens")
