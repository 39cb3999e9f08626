"""A mesh and a real Ray in one process; without Ray, that nothing of this is there.

What a real Ray takes part in runs as one program, `tests/apps/real_ray.py`, which says how each of
its scenarios ended: Ray does not leave the process, nor the warnings, of a test run as they were.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshgen.errors import RemoteTraceback
from meshgen.raybridge import Failure, Outcomes, session
from meshgen.testing import MODES
from tests.programs import assert_gone, start

ROOT = Path(__file__).parent.parent
_SOURCE = (ROOT / "tests/apps/real_ray.py").read_text()
_SCENARIOS = [*re.findall(r"^@scenario\nasync def (\w+)", _SOURCE, re.M), "nothing_is_left"]
_ENDS = "a_mesh_that_is_shut_down_leaves_nobody_waiting"


@pytest.fixture(scope="module")
def program_output() -> Iterator[str]:
    """What the program prints."""
    with start("tests/apps/real_ray.py", cwd=ROOT) as program:
        program.until("^ray_is_started_again", timeout=600)
        started = program.processes()
        program.wait(timeout=120)
        assert_gone(started, within=30)
        yield program.output


def _assert_ok(name: str, output: str) -> None:
    assert re.search(rf"^{name}: ok$", output, re.M), output


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", [*_SCENARIOS, _ENDS])
def test_scenario(program_output: str, name: str, mode: str) -> None:
    """It ended well; its name is its sentence."""
    _assert_ok(f"{mode} {name}", program_output)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["in-process", "loopback"])
def test_a_deployment_uses_both(program_output: str, mode: str) -> None:
    """Where its own process is connected to Ray: references of Ray's go in, and come back."""
    _assert_ok(f"{mode} a_deployment_uses_both", program_output)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["without_ray", "ray_is_shut_down", "ray_is_started_again"])
def test_ray_may_come_and_go(program_output: str, name: str) -> None:
    """References are meshgen's own, then Ray's; nothing hangs, and no Ray is started by itself."""
    _assert_ok(name, program_output)


# Ray reports nothing, and leaves nothing in the home folder.
_PROLOGUE = """import os
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "HOME": os.environ["TMPDIR"]}
"""


@pytest.mark.slow
def test_the_documented_program_prints_what_it_says(tmp_path: Path) -> None:
    """The first Python block of docs/real-ray.md; its comments after `print` are the output."""
    text = (ROOT / "docs/real-ray.md").read_text()
    (source,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    (tmp_path / "both.py").write_text(_PROLOGUE + source)
    with start("both.py", cwd=tmp_path) as program:
        assert program.wait(timeout=120) == 0, program.output
        printed = [line for line in program.output.splitlines() if line.isdigit()]
        assert printed == re.findall(r"print\(.*# (\d+)$", source, re.M), program.output
        assert_gone(program.processes(), within=30)


def _run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_meshgen_never_imports_ray() -> None:
    """Nor does a call by a handle."""
    _run(
        "import asyncio, sys\n"
        "from meshgen import serve\n"
        "from meshgen.testing import run_app\n"
        "class Echo:\n"
        "    async def __call__(self, value): return value\n"
        "async def main():\n"
        "    async with run_app(serve.deployment(Echo).bind()) as handle:\n"
        "        ref = await handle.remote(1)._to_object_ref()\n"
        "        assert await handle.remote(ref) == 1\n"
        "asyncio.run(main())\n"
        "assert 'ray' not in sys.modules\n"
    )


def test_meshgen_in_rays_place_is_no_ray() -> None:
    """With `meshgen.compat`, what `import ray` gives is no Ray to bridge to."""
    _run(
        "from meshgen import compat, raybridge\n"
        "compat.install()\n"
        "import ray\n"
        "assert raybridge.session() is None\n"
        "assert raybridge.REAL_RAY not in __import__('sys').modules\n"
    )


def test_where_no_ray_was_imported_there_is_no_session() -> None:
    """Looking for one imports nothing."""
    assert session() is None
    assert "ray" not in sys.modules


# ---- the actor


async def _value(value: object) -> object:
    return value


async def test_who_waits_first_gets_what_is_told_later() -> None:
    """And the key is forgotten."""
    outcomes = Outcomes()
    waiting = asyncio.create_task(outcomes.wait("k"))
    await asyncio.sleep(0)
    assert await outcomes.count() == 1
    await outcomes.tell("k", [_value(4)])
    assert await waiting == 4
    assert await outcomes.count() == 0


async def test_what_is_told_first_waits_for_who_asks() -> None:
    """Ray may begin an actor's calls in any order."""
    outcomes = Outcomes()
    await outcomes.tell("k", [_value(4)])
    assert await outcomes.wait("k") == 4
    assert await outcomes.count() == 0


async def test_a_failure_is_raised_with_its_traceback() -> None:
    """The error itself, and how it came about over there as its cause."""
    outcomes = Outcomes()
    await outcomes.tell("k", [_value(Failure(error=KeyError("k"), traceback="in make"))])
    with pytest.raises(KeyError) as caught:
        await outcomes.wait("k")
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in make" in str(caught.value.__cause__)


async def test_who_gives_up_is_forgotten() -> None:
    """As by `ray.cancel`."""
    outcomes = Outcomes()
    waiting = asyncio.create_task(outcomes.wait("k"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await outcomes.count() == 0
