"""Source that says `import ray`: runs on meshgen as it is, in every way that meshgen runs things.

Each test has a process of its own: imports of Ray are answered in a whole process or not at all.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from meshgen.testing import MODES, Mode
from tests.programs import Program, start

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "tests" / "apps" / "ray_source.py"
SUM = {"sum": 7, "items": [0, 1, 2]}
TOTAL = {"total": 26}
IN_A_MODE = """
import asyncio, sys
from meshgen.testing import run_app
from tests.apps.ray_source import app

async def main():
    async with run_app(app, mode=sys.argv[1]) as handle:
        print(await handle.compute.remote(3), await handle.compute.remote(101))
        print(await handle.by_tasks.remote(3))

asyncio.run(main())
"""


def python(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run `python ARGUMENTS` to its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)


def printed(code: str, *arguments: str) -> str:
    """What a program prints in which imports of Ray are answered."""
    ran = python("-c", f"from meshgen.compat import install\ninstall()\n{code}", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def meshgen(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run `meshgen ARGUMENTS` to its end."""
    return python("-m", "meshgen", *arguments, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an application for Ray, and its requirements."""
    folder = tmp_path / "shop"
    folder.mkdir()
    shutil.copy(SOURCE, folder / "app.py")
    (folder / "requirements.txt").write_text("ray[serve]>=2.9\niniconfig\n")
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_an_application_for_ray_runs_in_a_mode(mode: Mode) -> None:
    """Values, chains, streams, tasks, actors, and exceptions derived from Ray's."""
    assert printed(IN_A_MODE, mode) == f"{SUM} {{'refused': '101 is too much'}}\n{TOTAL}"


@pytest.mark.parametrize("arguments", [[SOURCE], ["-m", "tests.apps.ray_source"]], ids=str)
def test_a_script_runs_as_it_is(arguments: list[str | Path]) -> None:
    """Its classes live in __main__ there, and travel with the module `ray` among their globals."""
    ran = python("-m", "meshgen.compat", *arguments)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (
        f"awaited {SUM}\nresult {{'refused': '101 is too much'}}\ntasks [0, 2, 4] {TOTAL}\n"
    )


def test_a_script_finds_its_arguments_and_its_neighbours(tmp_path: Path) -> None:
    """As with `python SCRIPT ARGUMENTS`, from any folder."""
    (tmp_path / "words.py").write_text("HOLA = 'Hola'")
    script = "import sys, words, ray\nprint(words.HOLA, sys.argv[1:], __name__)"
    (tmp_path / "script.py").write_text(script)
    ran = python("-m", "meshgen.compat", tmp_path / "script.py", "-x", "1")
    assert ran.stdout == "Hola ['-x', '1'] __main__\n", ran.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "usage: python -m meshgen.compat"),
        (["--help"], "usage: python -m meshgen.compat"),
        (["-m"], "usage: python -m meshgen.compat"),
        (["no_such.py"], "there is no file no_such.py"),
        (["-m", "no_such.module"], "there is no module no_such.module"),
        (["-m", "no_such"], "there is no module no_such"),
    ],
    ids=str,
)
def test_nothing_to_run_is_a_sentence(arguments: list[str], sentence: str) -> None:
    """Without a traceback."""
    ran = python("-m", "meshgen.compat", *arguments)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(sentence)


def _address(program: Program) -> str:
    return program.until(r"HTTP on (http://\S+) · Ctrl-C stops it")[1]


def _get(address: str) -> object:
    return httpx.get(f"{address}/?number=3", trust_env=False, timeout=20).json()


def test_meshgen_run_serves_it(folder: Path) -> None:
    """Replicas import the module too, in processes of their own."""
    arguments = ("run", "--ray-compat", "app.py:app", "--port", "0")
    with start("-m", "meshgen", *arguments, cwd=folder) as program:
        address = _address(program)
        assert _get(address) == SUM
        assert httpx.get(f"{address}/?tasks=3", trust_env=False, timeout=20).json() == TOTAL


def test_meshgen_run_builds_it_of_arguments_and_reloads_it(folder: Path) -> None:
    """Each start of the source has the option."""
    arguments = ("app:build", "increment=1", "--ray-compat", "--port", "0", "--reload")
    with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
        assert _get(_address(program)) == SUM | {"sum": 5}
        changed = SOURCE.read_text().replace("return number + ", "return 1 + number + ")
        (folder / "app.py").write_text(changed)
        assert _get(_address(program)) == SUM
        program.signal(signal.SIGINT)
        assert program.wait() == 0, program.output


def test_meshgen_graph_shows_it(folder: Path) -> None:
    """The same services as if its author had written `meshgen`."""
    ran = meshgen("graph", "--ray-compat", "app.py:app", "--format", "json", cwd=folder)
    assert {service["name"] for service in json.loads(ran.stdout)["services"]} == {
        "adder",
        "counter",
        "ingress",
    }


def test_a_built_mesh_answers_imports_of_ray_in_every_container(folder: Path) -> None:
    """The gateway included, which unpickles what the ingress returns; no image installs a Ray."""
    pip = '"runtime_env": {"pip": ["ray[serve]"]}'
    (folder / "app.py").write_text(SOURCE.read_text().replace('"num_cpus": 0.1', pip))
    ran = meshgen("build", "--ray-compat", "app.py:app", "-o", "../out", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    out = folder.parent / "out"
    services = yaml.safe_load((out / "compose.yaml").read_text())["services"]
    assert set(services) == {"adder", "counter", "ingress", "gateway", "meshgen-tasks"}
    assert {each["environment"]["MESHGEN_RAY_COMPAT"] for each in services.values()} == {"1"}
    (requirements,) = (out / "images").glob("*/requirements.txt")
    lines = requirements.read_text().splitlines()
    assert "iniconfig" in lines
    assert not [line for line in lines if line.startswith("ray")]


PLAIN = "from meshgen import serve\n@serve.deployment\nclass A: pass\napp = A.bind()\n"


def test_a_mesh_built_without_the_option_keeps_what_it_requires(folder: Path) -> None:
    """An application may well use a Ray of its own."""
    (folder / "app.py").write_text(PLAIN)
    ran = meshgen("build", "app.py:app", "-o", "../out", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    assert "RAY_COMPAT" not in (folder.parent / "out" / "compose.yaml").read_text()
    assert "ray[serve]>=2.9" in (folder.parent / "out/images/base/requirements.txt").read_text()


RAYS_OWN = """
class Application:
    __module__ = "ray.serve.deployment"

app = Application()
"""


@pytest.mark.parametrize("source", ["import ray.no_such_module", RAYS_OWN], ids=["import", "Ray"])
def test_without_the_option_it_is_suggested(source: str, tmp_path: Path) -> None:
    """Whether no Ray is installed, or one whose objects meshgen cannot run."""
    (tmp_path / "app.py").write_text(source)
    ran = meshgen("graph", "app.py:app", cwd=tmp_path)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "did you mean --ray-compat" in ran.stderr


@pytest.mark.parametrize(
    ("statement", "error", "name"),
    [
        ("import ray.tune", "ModuleNotFoundError", "ray.tune"),
        ("import ray.serve.no.where", "ModuleNotFoundError", "ray.serve.no"),
        ("from ray import tune", "ModuleNotFoundError", "ray.tune"),
        ("from ray.tune import Tuner", "ModuleNotFoundError", "ray.tune"),
        ("from ray.serve import nope", "ModuleNotFoundError", "ray.serve.nope"),
        ("from ray.serve.handle import nope", "ModuleNotFoundError", "ray.serve.handle.nope"),
        ("import ray; ray.tune.Tuner()", "AttributeError", "ray.tune"),
        ("from ray import serve; serve.nope", "AttributeError", "ray.serve.nope"),
        ("import ray.serve; ray.serve.nope", "AttributeError", "ray.serve.nope"),
        ("import ray; ray.cli", "AttributeError", "ray.cli"),
        ("import ray; ray.__version__", "AttributeError", "ray.__version__"),
    ],
)
def test_what_is_lacking_is_named(statement: str, error: str, name: str, tmp_path: Path) -> None:
    """In each form that Python has for asking, where it says something else by itself."""
    (tmp_path / "app.py").write_text(f"import meshgen.cli\n{statement}\n")
    ran = meshgen("graph", "--ray-compat", "app.py:app", cwd=tmp_path)
    assert ran.returncode == 2
    assert ran.stderr.rstrip().endswith(
        f"{error}: {name} is not there, as meshgen stands in Ray's place (ray-compat): "
        "docs/ray-compat.md tells what there is"
    )
    assert "/meshgen/" not in ran.stderr


def test_what_has_a_better_way_here_says_which() -> None:
    """An `except RayTaskError` would catch nothing."""
    code = "try: from ray.exceptions import RayTaskError\nexcept ImportError as exc: print(exc)"
    assert printed(code).endswith("what user code raises arrives as its own class, so catch that")


def test_who_looks_first_gets_a_plain_no() -> None:
    """Libraries adapt to what they find."""
    code = """
import importlib.util, ray
from ray import serve
print(hasattr(serve, "nope"), getattr(ray, "tune", None), importlib.util.find_spec("ray.tune"))
print(importlib.util.find_spec("ray.serve").name)
"""
    assert printed(code) == "False None None\nray.serve"


def test_the_objects_are_meshgen_s_own() -> None:
    """`isinstance` agrees, and pickles name meshgen's modules."""
    code = """
import pickle
import meshgen.errors, meshgen.serve.config, meshgen.serve.handle
import ray.serve
import ray.serve.deployment
from ray import exceptions
from ray.serve.deployment import Application
from ray.serve.exceptions import ReplicaUnavailableError
import meshgen.tasks.actor
from ray.actor import ActorHandle
assert ActorHandle is meshgen.tasks.actor.ActorHandle
assert issubclass(exceptions.ActorDiedError, exceptions.RayActorError)
assert ray.serve.deployment is meshgen.serve.deployment
assert Application is ray.serve.Application is meshgen.serve.Application
assert ray.serve.handle.DeploymentResponse is meshgen.serve.handle.DeploymentResponse
assert ray.serve.HTTPOptions is meshgen.serve.config.HTTPOptions
assert exceptions.GetTimeoutError is meshgen.errors.DeadlineError
assert ReplicaUnavailableError is meshgen.errors.ReplicaLostError
print(pickle.loads(pickle.dumps(ray.serve.handle.DeploymentResponse)).__module__)
"""
    assert printed(code) == "meshgen.serve.response"


def test_a_star_import_brings_the_public_names() -> None:
    """As from Ray."""
    assert printed("from ray.serve import *\nprint(deployment.__module__, 'Any' in dir())") == (
        "meshgen.serve.deployment False"
    )


def test_it_wins_over_a_ray_that_is_installed(tmp_path: Path) -> None:
    """Also over one that was imported before."""
    (tmp_path / "ray.py").write_text("print('the real one')")
    (tmp_path / "script.py").write_text(
        "import ray, meshgen.compat\nmeshgen.compat.install()\nmeshgen.compat.install()\n"
        "import ray, meshgen\nfrom ray import serve\nprint(serve.run is meshgen.serve.run)"
    )
    assert python("script.py", cwd=tmp_path).stdout == "the real one\nTrue\n"
    assert python("-m", "meshgen.compat", "script.py", cwd=tmp_path).stdout == "True\n"
