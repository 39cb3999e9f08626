"""What a user sees of a mesh that cannot come up."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compose.mesh import ComposeError
from tests.conftest import StartMesh

pytestmark = [pytest.mark.containers, pytest.mark.slow]

APP = """
from meshgen import serve


@serve.deployment
class Model:
    def __init__(self):
        raise RuntimeError("there are no weights here")


app = Model.bind()
"""


def test_a_constructor_that_fails_ends_up_with_the_users_traceback(
    start_mesh: StartMesh, tmp_path: Path
) -> None:
    """`docker compose up --wait` fails instead of waiting for ever, and the logs say why."""
    (tmp_path / "app.py").write_text(APP)
    with pytest.raises(ComposeError) as caught:
        start_mesh(f"{tmp_path / 'app.py'}:app")
    shown = str(caught.value)
    assert "model-1 is unhealthy" in shown or "model-1 exited" in shown
    assert 'File "/mesh/app/app.py"' in shown
    assert "RuntimeError: there are no weights here" in shown
