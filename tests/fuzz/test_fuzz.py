"""Each target for a while, with inputs that are the same each time: nothing is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("atheris", reason="no atheris for this Python")

TARGETS = ("frames", "typed", "jsonbodies", "webframes", "exchanges")
_ROOT = Path(__file__).parents[2]
_SECONDS = 6
_MOST_SECONDS = 90


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_input_breaks_a_target(target: str, tmp_path: Path) -> None:
    """Every input is answered as its target promises, and none of it is unpickled."""
    left = tmp_path / "left"  # libFuzzer ends its process without a word to Python
    left.mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", f"tests.fuzz.{target}", f"--seconds={_SECONDS}", "--seed=1"]
        + [f"--folder={tmp_path}"],
        cwd=_ROOT,
        env={**os.environ, "TMPDIR": str(left)},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_MOST_SECONDS,
    )
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    told = [line for line in ran.stderr.splitlines() if "INFO: Instrumenting" not in line]
    assert (ran.returncode, found) == (0, {}), "\n".join(told)
    assert "DONE" in ran.stderr


def test_what_is_unpickled_is_noticed() -> None:
    """A target that unpickles its input fails by its first pickle, whatever that would do."""
    script = (
        "import pickle\n"
        "from tests.fuzz.harness import PickleWatch\n"
        "watch = PickleWatch(['collections.OrderedDict'])\n"
        "pickle.loads(pickle.dumps(__import__('collections').OrderedDict()))\n"
        "watch.check()\n"
        "try:\n"
        "    pickle.loads(watch.bombs()[-1])\n"
        "    watch.check()\n"
        "except AssertionError as exc:\n"
        "    print(exc)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=_ROOT, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == "unpickled: ['posix.mkdir']\n", ran.stderr
