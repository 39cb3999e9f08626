"""Programs that use tasks and actors: with an application, and with nothing else."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.programs import assert_gone, start

ALONE = """
import meshgen

@meshgen.remote
def double(number):
    return 2 * number

@meshgen.remote
class Counter:
    def __init__(self, start):
        self.total = start
    def add(self, by):
        self.total += by
        return self.total

assert not meshgen.is_initialized()
print("tasks", meshgen.get([double.remote(n) for n in range(3)]))
counter = Counter.remote(10)
print("actor", meshgen.get(counter.add.remote(double.remote(4))), meshgen.is_initialized())
ready, waiting = meshgen.wait([double.remote(1), double.remote(2)], num_returns=2, timeout=20)
print("ready", len(ready), len(waiting))
"""


# Lines of the log, in the same pipe: of replicas, and of constructors that take long.
_OF_A_SLOW_MACHINE = re.compile(r"^(\[[\w-]+#\d+\]|still waiting for) .*\n", re.MULTILINE)


def _run(tmp_path: Path, code: str, **environment: str) -> str:
    """What a program prints; it must end well."""
    (tmp_path / "program.py").write_text(code)
    lines = "".join(f"os.environ[{k!r}] = {v!r}\n" for k, v in environment.items())
    (tmp_path / "main.py").write_text(f"import os\n{lines}{code}")
    with start("main.py", cwd=tmp_path) as program:
        status = program.wait(120)
        assert status == 0, program.output
        assert_gone(program.processes(), within=20)
        return _OF_A_SLOW_MACHINE.sub("", program.output)


def test_a_program_with_tasks_only(tmp_path: Path) -> None:
    """The first one starts the mesh, which ends with the program."""
    assert _run(tmp_path, ALONE) == "tasks [0, 2, 4]\nactor 18 True\nready 2 0\n"


AFTER = """
import meshgen
from meshgen import serve

@serve.deployment
def plain(number):
    return number

handle = serve.run(plain.bind(), route_prefix=None)
print(sorted(serve.status().applications))
double = meshgen.remote(lambda number: 2 * number)
print(meshgen.get(double.remote(handle.remote(4))), sorted(serve.status().applications))
serve.shutdown()
print(meshgen.get(double.remote(5)), sorted(serve.status().applications))
meshgen.shutdown()
"""


def test_the_service_is_there_only_where_it_is_used(tmp_path: Path) -> None:
    """Added to a running mesh by the first task, and part of the next mesh after a shutdown."""
    assert _run(tmp_path, AFTER) == "['default']\n8 ['default', 'meshgen']\n10 ['meshgen']\n"


WITH_AN_APPLICATION = """
import meshgen
from meshgen import serve

@meshgen.remote
def double(number):
    return 2 * number

@serve.deployment
class Front:
    async def __call__(self, number):
        return await double.remote(number)

print(serve.run(Front.bind(), route_prefix=None).remote(4).result())
"""


def test_an_application_of_a_script_uses_its_tasks(tmp_path: Path) -> None:
    """Which live in __main__ and travel by value."""
    assert _run(tmp_path, WITH_AN_APPLICATION) == "8\n"


HIDDEN = """
import meshgen
from meshgen import serve

@serve.deployment
class Front:
    async def __call__(self, number):
        return await meshgen.remote(lambda n: 2 * n).remote(number)

handle = serve.run(Front.bind(), route_prefix=None)
try:
    handle.remote(4).result()
except meshgen.errors.NotServingError as exc:
    print(exc)
"""


def test_a_deployment_without_the_service_is_told_how_to_get_it(tmp_path: Path) -> None:
    """It cannot add one to the mesh it runs in."""
    printed = _run(tmp_path, HIDDEN)
    assert "this mesh has no task service: decorate functions and classes by" in printed
    assert "meshgen run --tasks" in printed


REPLICAS = """
import meshgen
from meshgen import serve

@meshgen.remote
class Place:
    def where(self):
        return serve.get_replica_context().replica_id

meshgen.init(num_cpus=2)
places, found = [], []
while len(set(found)) < 2:  # the first ones are made where there is a connection first
    places += [Place.remote() for _ in range(5)]
    found = meshgen.get([place.where.remote() for place in places])
for _ in range(3):
    print(found == meshgen.get([place.where.remote() for place in places]))
named = [Place.options(name=f"n{i}", get_if_exists=True).remote() for i in (1, 2, 1)]
print(meshgen.get([each.where.remote() for each in named]))
print(meshgen.get(meshgen.get_actor("n2").where.remote()))
(service,) = serve.status().applications["meshgen"].deployments.values()
print(service.replica_states)
"""


def test_actors_stay_where_they_were_made(tmp_path: Path) -> None:
    """Of several replicas of the task service, their calls find the right one."""
    printed = _run(tmp_path, REPLICAS, MESHGEN_TASKS_REPLICAS="2").splitlines()
    assert printed[0].endswith("meshgen.init: no effect has num_cpus")
    assert printed[1:] == ["True"] * 3 + ["['0', '0', '0']", "0", "{'RUNNING': 2}"]


def test_a_wrong_number_of_replicas_is_a_sentence(tmp_path: Path) -> None:
    """In the environment."""
    code = (
        "import meshgen\ntry: meshgen.remote(len.__class__.__mro__[0])\n"
        "except Exception: pass\n"
        "try: meshgen.remote(lambda: 1).remote()\nexcept ValueError as exc: print(exc)"
    )
    printed = _run(tmp_path, code, MESHGEN_TASKS_REPLICAS="many")
    assert printed == ("MESHGEN_TASKS_REPLICAS must be a whole number of at least 1, got 'many'\n")


LOST = """
import os, meshgen
from meshgen.errors import ActorDiedError

@meshgen.remote
class Fragile:
    def exit(self):
        os._exit(1)
    def ping(self):
        return "pong"

# Said at the end and at once: the log goes to the same pipe.
said = []
fragile = Fragile.options(name="glass").remote()
said.append(meshgen.get(fragile.ping.remote()))
refs = [fragile.exit.remote(), fragile.ping.remote()]
for ref in refs:
    try:
        meshgen.get(ref, timeout=60)
    except ActorDiedError as exc:
        said.append(f"lost {exc}")
# The process that comes next is there, however long that takes: it knows of no such actor.
meshgen.get(Fragile.remote().ping.remote(), timeout=60)
try:
    meshgen.get(fragile.ping.remote(), timeout=60)
except ActorDiedError as exc:
    said.append(f"later {exc}")
try:
    meshgen.get_actor("glass")
except ValueError:
    said.append("its name is free")
said.append(meshgen.get(Fragile.options(name="glass").remote().ping.remote(), timeout=60))
print("\\n".join(said) + "\\n", end="")
"""


def test_an_actor_dies_with_its_process(tmp_path: Path) -> None:
    """Calls that were there and later ones say so; a new one can be made, by the same name."""
    printed = _run(tmp_path, LOST).splitlines()
    said = [line for line in printed if line.startswith(("lost", "later", "pong", "its"))]
    assert said[0] == "pong", printed
    # The second call may not have left by then: the process that comes next tells of it.
    lost = "lost actor 'glass' of class Fragile is "
    assert [line[: len(lost)] for line in said[1:3]] == [lost, lost], printed
    assert said[3].startswith("later actor 'glass' of class Fragile is dead")
    assert said[4:] == ["its name is free", "pong"]


STARTS = """
import logging, meshgen
logging.basicConfig(format="%(message)s")
meshgen.init("auto", namespace="n")
print(meshgen.is_initialized())
meshgen.init(ignore_reinit_error=True)
meshgen.init()
meshgen.shutdown()
meshgen.shutdown()
print(meshgen.is_initialized())
"""


def test_a_program_may_say_when_the_mesh_starts(tmp_path: Path) -> None:
    """As with Ray; what has no effect is said."""
    assert _run(tmp_path, STARTS).splitlines() == [
        "meshgen.init: no effect has address, namespace",
        "True",
        "meshgen.init: a mesh runs already; it stays as it is",
        "False",
    ]


ENDLESS = """
import threading, meshgen

@meshgen.remote
def forever():
    threading.Event().wait()

@meshgen.remote
async def ping():
    return "pong"

forever.remote()
print(meshgen.get(ping.remote()))
"""


def test_a_program_does_not_wait_for_tasks_that_nobody_waits_for(tmp_path: Path) -> None:
    """They end with it."""
    assert _run(tmp_path, ENDLESS) == "pong\n"


def test_the_decorator_is_light(tmp_path: Path) -> None:
    """A module that declares tasks pays for nothing that it does not use."""
    code = (
        "import sys, meshgen\n@meshgen.remote\ndef f(): pass\n"
        "print([n for n in ('grpc', 'meshgen.runtime', 'meshgen.build', 'meshgen.api')"
        " if n in sys.modules])"
    )
    (tmp_path / "light.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "light.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


DECLARED = """
import meshgen
from meshgen import serve

@meshgen.remote
def double(number):
    return 2 * number

@serve.deployment
class Front:
    async def __call__(self, request):
        return await double.remote(21)

app = Front.bind()
"""
HIDDEN_AWAY = DECLARED.replace("@meshgen.remote", "").replace(
    "await double", "await meshgen.remote(double)"
)


@pytest.mark.parametrize(("code", "options"), [(DECLARED, []), (HIDDEN_AWAY, ["--tasks"])])
def test_meshgen_run_starts_it(code: str, options: list[str], tmp_path: Path) -> None:
    """With an application that declares tasks, or where it was asked for."""
    (tmp_path / "app.py").write_text(code)
    arguments = ("-m", "meshgen", "run", "app.py:app", "--port", "0", *options)
    with start(*arguments, cwd=tmp_path) as program:
        address = program.until(r"HTTP on (http://\S+) · Ctrl-C stops it")[1]
        assert httpx.get(address, trust_env=False, timeout=20).json() == 42
        program.signal(signal.SIGINT)
        assert program.wait() == 0, program.output
