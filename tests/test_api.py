"""`serve.run` and its companions, in programs as users write them."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from meshgen import serve
from meshgen.errors import (
    DeployError,
    NoSuchApplicationError,
    NotServingError,
    OptionError,
    OptionTypeError,
)
from meshgen.serve.schema import ApplicationStatus, ReplicaState
from tests.apps import calls, failing, shapes, web
from tests.programs import left_of, start


@pytest.fixture
def mesh() -> Iterator[None]:
    """Serve HTTP on a free port, and shut down at the end."""
    serve.start({"port": 0})
    yield
    serve.shutdown()


def _get(path: str) -> httpx.Response:
    return httpx.get(f"{serve.status().http_address}{path}", trust_env=False, timeout=20)


# ---- scripts

ADDER = """
from meshgen import serve

@serve.deployment
class Adder:
    def __init__(self, step):
        self.step = step
    def __call__(self, number):
        return number + self.step
"""
RUN = """
serve.start({"port": 0})
print("answer", serve.run(Adder.bind(5)).remote(1).result())
serve.shutdown()
"""


def _script(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "script.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize("way", ["script", "-c", "exec"])
def test_deployments_of_main_run_however_main_is_run(tmp_path: Path, way: str) -> None:
    """From a file, from a command line, and from a notebook's cells."""
    cells = f"__name__ = '__main__'\nfor cell in ({ADDER!r}, {RUN!r}):\n    exec(cell, globals())\n"
    ways: dict[str, list[str | Path]] = {
        "script": [_script(tmp_path, ADDER + RUN)],
        "-c": ["-c", ADDER + RUN],
        "exec": ["-c", cells],
    }
    with start(*ways[way], cwd=tmp_path) as program:
        assert program.wait() == 0, program.output
        assert "answer 6\n" in program.output
        assert program.processes() == []


MAIN_TYPES = """
import dataclasses
from meshgen import serve

class OutOfStock(Exception):
    pass

@dataclasses.dataclass
class Item:
    name: str

def shout(text):
    return text.upper()

@serve.deployment
class Shop:
    def __init__(self, first):
        self.first = first
    def buy(self, item):
        if item.name == "tea":
            raise OutOfStock(item.name)
        return Item(shout(item.name + self.first.name))
    async def stream(self):
        yield Item("one")

def main():
    greeting = "Hola"

    @serve.deployment
    class Local:
        def __init__(self, shop):
            self.shop = shop
        async def __call__(self, name):
            return greeting, await self.shop.buy.remote(Item(name))

    serve.start({"port": 0})
    handle = serve.run(Local.bind(Shop.bind(Item("!"))))
    assert handle.remote("milk").result() == ("Hola", Item("MILK!"))
    shop = serve.get_deployment_handle("Shop", "default")
    try:
        shop.buy.remote(Item("tea")).result()
    except OutOfStock as exc:
        print("caught", exc)
    assert list(shop.options(stream=True).stream.remote()) == [Item("one")]

if __name__ == "__main__":
    main()
"""


def test_types_of_main_go_both_ways(tmp_path: Path) -> None:
    """Exceptions match, dataclasses are equal, and a class within a function keeps its closure."""
    with start(_script(tmp_path, MAIN_TYPES), cwd=tmp_path) as program:
        assert program.wait() == 0, program.output
        assert "caught tea\n" in program.output


def test_a_program_that_forgets_to_shut_down_leaves_nothing(tmp_path: Path) -> None:
    """Its processes and its folder go with it."""
    text = ADDER + RUN.replace("serve.shutdown()", "print(serve.status().applications)")
    with start("-c", text, cwd=tmp_path) as program:
        assert program.wait() == 0, program.output
        assert "answer 6\n" in program.output
        assert program.processes() == []
        assert list(program.temporary.iterdir()) == []


def test_a_program_that_raises_leaves_nothing(tmp_path: Path) -> None:
    """The traceback is the user's, the exit status 1."""
    text = ADDER + RUN.replace("serve.shutdown()", "raise ValueError('own mistake')")
    with start("-c", text, cwd=tmp_path) as program:
        assert program.wait() == 1
        assert "ValueError: own mistake" in program.output
        assert program.processes() == []


def test_a_killed_program_takes_its_processes_along(tmp_path: Path) -> None:
    """Even SIGKILL, which nobody can catch, leaves none after two seconds."""
    # A machine that does something else meanwhile gets another chance.
    assert any(_left_by_sigkill(tmp_path) == [] for _ in range(3))


def _left_by_sigkill(folder: Path) -> list[psutil.Process]:
    """What still runs two seconds later."""
    text = ADDER + RUN.replace("serve.shutdown()", "__import__('signal').pause()")
    with start("-c", text, cwd=folder) as program:
        program.until("answer 6")
        processes = program.processes()
        assert len(processes) >= 3  # the program, its replica, its gateway
        program.signal(signal.SIGKILL)
        return left_of(processes, within=2.0)


BLOCKING = """
import sys, threading, time, traceback

def does_main_block():
    frame = sys._current_frames()[threading.main_thread().ident]
    return any(each.f_code.co_name == "_block" for each, _ in traceback.walk_stack(frame))

def tell():
    while not does_main_block():
        time.sleep(0.01)
    print("answer", serve.get_app_handle("default").remote(1).result())

threading.Thread(target=tell, daemon=True).start()
serve.start({"port": 0})
serve.run(Adder.bind(5), blocking=True)
print("stopped")
"""


def test_blocking_run_ends_with_ctrl_c(tmp_path: Path) -> None:
    """Cleanly: exit status 0 and no traceback."""
    with start("-c", ADDER + BLOCKING, cwd=tmp_path) as program:
        program.until("answer 6")
        program.signal(signal.SIGINT)
        assert program.wait() == 0, program.output
        assert program.output.endswith("stopped\n")
        assert "Traceback" not in program.output
        assert program.processes() == []


# ---- in process


def test_run_returns_the_ingress_s_handle_and_serves_http(mesh: None) -> None:
    """Ready when it returns."""
    handle = serve.run(web.Bare.bind())
    assert handle.remote().result(timeout_s=10) == "no request needed"
    assert _get("/").text == "no request needed"
    assert _get("/-/routes").json() == {"/": "default"}


def test_deployments_are_found_by_name(mesh: None) -> None:
    """Of every application that runs."""
    serve.run(calls.app, name="calls", route_prefix=None)
    assert serve.get_app_handle("calls").name.remote().result() == "Front"
    assert serve.get_deployment_handle("double", "calls").remote(2).result() == 4
    for name in ("nope", "default"):
        with pytest.raises(NoSuchApplicationError, match=f"no application '{name}' runs"):
            serve.get_app_handle(name)
    with pytest.raises(KeyError, match="no deployment 'nope' in application 'calls'"):
        serve.get_deployment_handle("nope", "calls")
    assert serve.status().http_address is None  # nothing is for HTTP


def test_run_again_puts_an_application_in_the_old_one_s_place(mesh: None) -> None:
    """Handles of before call the new one; the old processes are gone."""
    old = serve.run(shapes.Leaf.bind("old"))
    before = _pids()
    assert old.remote().result() == "old"
    new = serve.run(shapes.Leaf.bind("new"))
    assert new.remote().result() == "new"
    assert old.remote().result() == "new"
    assert not before & _pids()
    assert not any(psutil.pid_exists(pid) for pid in before)


def _pids() -> set[int]:
    return {
        replica.pid
        for app in serve.status().applications.values()
        for deployment in app.deployments.values()
        for replica in deployment.replicas
        if replica.pid is not None
    }


def test_no_call_is_lost_while_an_application_is_replaced(mesh: None) -> None:
    """The old replicas go when the new ones serve, and finish what they have begun."""
    handle = serve.run(shapes.Leaf.bind("old"))
    answers: list[str] = []
    over = threading.Event()

    def call() -> None:
        while not over.is_set():
            answers.append(handle.remote().result(timeout_s=20))

    with ThreadPoolExecutor(4) as threads:
        calling = [threads.submit(call) for _ in range(4)]
        try:
            for count in (2, 1):
                serve.run(shapes.Leaf.options(num_replicas=count).bind("new"))
        finally:
            over.set()
        for each in calling:
            each.result()
    assert set(answers) == {"old", "new"}
    assert handle.remote().result() == "new"


def test_a_failed_redeploy_leaves_the_old_application_running(mesh: None) -> None:
    """Nobody loses a service to a typo."""
    handle = serve.run(shapes.Leaf.bind("old"))
    with pytest.raises(DeployError, match="cannot load: no model"):
        serve.run(failing.Broken.bind("no model"))
    assert handle.remote().result() == "old"


def test_applications_run_side_by_side_under_their_prefixes(mesh: None) -> None:
    """The longest prefix wins; one that is taken is refused before anything starts."""
    serve.run(web.Bare.bind(), name="root")
    serve.run(web.function.bind(), name="shop", route_prefix="/shop")
    assert _get("/x").text == "no request needed"
    assert _get("/shop/x").text == "you asked for /shop/x"
    assert _get("/shopping").text == "no request needed"
    assert _get("/-/routes").json() == {"/shop": "shop", "/": "root"}
    with pytest.raises(OptionError, match="'/shop' is used by application 'shop'"):
        serve.run(web.Bare.bind(), name="other", route_prefix="/shop")
    assert "other" not in serve.status().applications


def test_delete_stops_one_application(mesh: None) -> None:
    """The others go on; deleting what is not there is no error."""
    gone = serve.run(shapes.Leaf.bind("gone"), name="gone", route_prefix="/gone")
    stays = serve.run(shapes.Leaf.bind("stays"), name="stays", route_prefix="/stays")
    assert gone.remote().result() == "gone"
    serve.delete("gone")
    serve.delete("gone")
    serve.delete("never was")
    assert set(serve.status().applications) == {"stays"}
    assert stays.remote().result() == "stays"
    assert _get("/gone").status_code == 404


@pytest.mark.parametrize(
    ("prefix", "problem"),
    [("x", "must start with '/'"), ("/x/", "must not end with '/'"), ("/{x}", "wildcards")],
)
def test_impossible_prefixes_are_refused(mesh: None, prefix: str, problem: str) -> None:
    """In one sentence, before anything starts."""
    with pytest.raises(OptionError, match=problem):
        serve.run(shapes.Leaf.bind(), route_prefix=prefix)
    assert serve.status().applications == {}


def test_what_is_no_application_is_refused(mesh: None) -> None:
    """A deployment that was not bound, and an empty name."""
    with pytest.raises(OptionTypeError, match=r"as Deployment.bind\(\) returns it"):
        serve.run(shapes.Leaf)
    with pytest.raises(OptionError, match="application's name"):
        serve.run(shapes.Leaf.bind(), name="")


def test_a_constructor_s_traceback_is_in_the_error_the_status_and_the_terminal(
    mesh: None, capfd: pytest.CaptureFixture[str]
) -> None:
    """The user's own lines, not only that something failed."""
    with pytest.raises(DeployError, match="did not start") as caught:
        serve.run(failing.Broken.bind("no model"))
    status = serve.status().applications["default"]
    assert status.status == "DEPLOY_FAILED"
    deployment = status.deployments["Broken"]
    assert deployment.status == "DEPLOY_FAILED"
    terminal = capfd.readouterr()
    for text in (str(caught.value), status.message, deployment.message, terminal.err):
        assert 'raise ValueError(f"cannot load: {reason}")' in text
        assert "ValueError: cannot load: no model" in text
    assert "[broken#0] about to fail" in terminal.out


def test_status_tells_every_replica(mesh: None) -> None:
    """With process ids of processes that run."""
    serve.run(shapes.replicas)
    status = serve.status()
    app = status.applications["default"]
    assert (app.status, app.route_prefix, status.proxies) == (
        ApplicationStatus.RUNNING,
        "/",
        {"gateway": "HEALTHY"},
    )
    assert {name: len(d.replicas) for name, d in app.deployments.items()} == {
        "Pool": 3,
        "Nested": 1,
    }
    assert app.deployments["Pool"].replica_states == {"RUNNING": 3}
    assert all(psutil.pid_exists(pid) for pid in _pids())


def test_a_killed_replica_comes_back(mesh: None) -> None:
    """It is started anew, serves again, and the status tells of it."""
    handle = serve.run(shapes.Leaf.bind())
    (pid,) = _pids()
    os.kill(pid, signal.SIGKILL)
    assert handle.options(timeout_s=60.0, idempotent=True).remote().result() == "leaf"
    replica = serve.status().applications["default"].deployments["Leaf"].replicas[0]
    assert (replica.state, replica.restarts) == (ReplicaState.RUNNING, 1)
    assert "ended unexpectedly (killed by SIGKILL)" in replica.last_error
    assert replica.pid not in (None, pid)


def test_a_runtime_env_is_the_replica_s_own(mesh: None, tmp_path: Path) -> None:
    """Its variables and its folder."""
    (tmp_path / "model.txt").write_text("weights")
    env = {"env_vars": {"GREETING": "¡Hola!"}, "working_dir": str(tmp_path)}

    def look() -> tuple[str | None, str]:
        return os.environ.get("GREETING"), Path("model.txt").read_text()

    app = serve.deployment(look, ray_actor_options={"runtime_env": env}).bind()
    assert serve.run(app).remote().result() == ("¡Hola!", "weights")
    assert "GREETING" not in os.environ


def test_without_a_mesh_nothing_is_there_and_nothing_breaks() -> None:
    """status, delete and shutdown are harmless; handles say what to do."""
    assert serve.status().applications == {}
    serve.delete("default")
    serve.shutdown()
    with pytest.raises(NotServingError, match=r"call serve.run\(app\) before"):
        serve.get_app_handle("default")


def test_shutdown_ends_everything_and_a_new_run_begins_anew(mesh: None) -> None:
    """Twice is fine; old handles say that their mesh is gone."""
    handle = serve.run(shapes.Leaf.bind())
    pids = _pids()
    serve.shutdown()
    serve.shutdown()
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(NotServingError, match="was shut down"):
        handle.remote().result()
    serve.start({"port": 0})
    assert serve.run(shapes.Leaf.bind("again")).remote().result() == "again"


def test_a_busy_port_is_refused_before_anything_starts() -> None:
    """In one sentence that says what to do; a later run with another port works."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        serve.start({"port": port})
        try:
            with pytest.raises(DeployError, match=f"cannot serve HTTP on 127.0.0.1:{port}: .*Free"):
                serve.run(failing.Broken.bind("never constructed"))
            assert serve.status().applications == {}
            handle = serve.run(shapes.Leaf.bind(), route_prefix=None)
            assert handle.remote().result() == "leaf"
        finally:
            serve.shutdown()


def test_options_of_start_are_checked(caplog: pytest.LogCaptureFixture) -> None:
    """Unknown names, impossible ports; a second start is told that it changes nothing."""
    with pytest.raises(OptionTypeError, match="http_options: .*'prot'"):
        serve.start({"prot": 1})
    with pytest.raises(OptionError, match="port must be from 0 to 65535"):
        serve.start({"port": 70000})
    serve.start({"port": 0})
    try:
        serve.start({"port": 1})
        assert "a mesh runs already" in caplog.text
    finally:
        serve.shutdown()


async def test_a_notebook_s_cell_runs_and_awaits(mesh: None) -> None:
    """Its cells run on an event loop: `serve.run` holds it up, responses are awaited there."""
    handle = serve.run(shapes.Leaf.bind())
    assert await handle.name.remote() == "Leaf"


def test_names_too_long_for_a_socket_are_served(mesh: None) -> None:
    """A socket's path has a hundred bytes, a name may have more."""
    name = "x" * 63
    handle = serve.run(shapes.Leaf.options(name=name).bind(), name="a" * 63, route_prefix=None)
    assert handle.name.remote().result() == name
