"""The environment of a service process: what one side writes, the other reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshgen.errors import OptionError
from meshgen.settings import Settings, variable

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
_PATHS = _TEXT.map(Path)
_REQUIRED = {"MESHGEN_MESH_FILE": "mesh.json", "MESHGEN_RESOLVER": "dns:{service}:50051"}


@given(
    st.fixed_dictionaries(
        {"mesh_file": _PATHS, "resolver": _TEXT},
        optional={
            "service_dir": _PATHS,
            "listen": _TEXT,
            "replica_id": _TEXT,
            "health": _TEXT,
            "certs": _PATHS,
            "http_host": _TEXT,
            "http_port": st.integers(0, 65535),
            "http_fd": st.integers(-1, 99),
            "lifeline_fd": st.integers(-1, 99),
            "report_fd": st.integers(-1, 99),
        },
    )
)
def test_settings_survive_the_environment(given_settings: dict[str, Any]) -> None:
    """Whatever is set arrives, and what is not set has its default again."""
    settings = Settings(**given_settings)
    environment = settings.environment()
    assert all(name.startswith("MESHGEN_") for name in environment)
    assert Settings.from_environment(environment) == settings


def test_only_two_variables_are_needed() -> None:
    """The rest has defaults, and foreign or empty variables do not disturb."""
    settings = Settings.from_environment({**_REQUIRED, "PATH": "/bin", "MESHGEN_HTTP_PORT": ""})
    assert settings == Settings(mesh_file=Path("mesh.json"), resolver="dns:{service}:50051")
    assert settings.http_port == 8000 and settings.certs is None


@pytest.mark.parametrize("name", sorted(_REQUIRED))
def test_a_missing_variable_is_named(name: str) -> None:
    """The sentence says which one, and what it means that it is missing."""
    with pytest.raises(OptionError, match=f"{name} is not set"):
        Settings.from_environment({key: _REQUIRED[key] for key in _REQUIRED if key != name})


@pytest.mark.parametrize("name", ["http_port", "http_fd", "lifeline_fd", "report_fd"])
def test_a_number_that_is_none_is_refused_by_name(name: str) -> None:
    """No bare ValueError reaches the log of a container."""
    with pytest.raises(OptionError, match=f"{variable(name)} must be a whole number, got 'http'"):
        Settings.from_environment({**_REQUIRED, variable(name): "http"})
