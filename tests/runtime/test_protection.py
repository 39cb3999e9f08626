"""When a gateway asks for tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meshgen.edgelimits import EdgeLimits
from meshgen.errors import OptionError
from meshgen.runtime.protection import needs_token, protection_of
from meshgen.settings import Settings


def _settings(**given: Any) -> Settings:
    return Settings(mesh_file=Path("mesh.json"), resolver="unix:x", **given)


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({}, False),
        ({"http_host": "0.0.0.0"}, True),
        ({"grpc_host": "::"}, True),
        ({"http_host": "::1", "grpc_host": "localhost"}, False),
        ({"http_host": "0.0.0.0", "published_on": "127.0.0.1"}, False),
        ({"http_host": "0.0.0.0", "published_on": "0.0.0.0"}, True),
        ({"published_on": "somewhere"}, True),
        ({"auth": "always"}, True),
        ({"auth": "never", "http_host": "0.0.0.0"}, False),
    ],
)
def test_tokens_are_needed_beyond_loopback(given: dict[str, Any], needed: bool) -> None:
    """Where the port is published, if that is known; unless it is said otherwise."""
    assert needs_token(_settings(**given)) is needed


def test_a_word_that_means_nothing_is_refused() -> None:
    """It might have been meant to close the ports."""
    with pytest.raises(OptionError, match="MESHGEN_AUTH must be always or never, got 'on'"):
        needs_token(_settings(auth="on"))


def test_without_a_file_nothing_is_served_beyond_loopback() -> None:
    """The sentence says both ways out."""
    with pytest.raises(OptionError, match="MESHGEN_AUTH_TOKEN_FILE, or set MESHGEN_AUTH=never"):
        protection_of(_settings(http_host="0.0.0.0"), EdgeLimits())


def test_origins_stand_apart_by_spaces_or_commas() -> None:
    """As `.env` files have them."""
    settings = _settings(cors_origins="https://a.example, https://b.example")
    protection = protection_of(settings, EdgeLimits())
    assert protection.cors_origins == ("https://a.example", "https://b.example")
    assert protection.gate is None and protection.tls is None
