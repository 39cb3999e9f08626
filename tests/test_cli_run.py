"""`meshgen run`, as a process in a terminal: ready, answering, stopped, killed, refused."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from tests.programs import Program, assert_gone, left_of, start

# What waits in vain for a replica takes its 20 s to drain, and 5 s more.
_SOON = 18.0
# A machine that does something else meanwhile gets another chance.
_TRIES = 3
EXAMPLES = Path(__file__).parent.parent / "examples"
# One for each stage of a run that a mistake can end; `meshgen build` is held to every word of all.
BROKEN = [
    Path(__file__).parent / "broken" / f"{name}.py"
    for name in ("syntax_error", "raises_at_import", "no_replicas", "plain_function")
    + ("builder_raises", "unbound_deployment", "clashing_names", "unpicklable_argument")
]
APP = """
from meshgen import serve

@serve.deployment
class Greeter:
    def __init__(self, greeting):
        print("a line of", greeting)
        self.greeting = greeting
    def __call__(self):
        return self.greeting

def build(arguments):
    return Greeter.bind(arguments.get("greeting", "Hola"))

app = Greeter.bind("Hola")
"""
FAILING = """
from meshgen import serve

@serve.deployment
class Broken:
    def __init__(self):
        raise ValueError("no model")

app = Broken.bind()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app.py."""
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def _address(program: Program) -> str:
    """Where it serves HTTP, once it is ready."""
    return program.until(r"HTTP on (http://\S+) · Ctrl-C stops it")[1]


def _get(address: str) -> httpx.Response:
    return httpx.get(address, trust_env=False, timeout=20)


def test_it_serves_says_where_and_stops_on_ctrl_c(folder: Path) -> None:
    """The ready line, the answer, the replica's own lines, exit status 0, nothing left."""
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        address = _address(program)
        assert _get(address).text == "Hola"
        assert "[greeter#0] a line of Hola\n" in program.output
        assert "runs: greeter (1 replicas)\n" in program.output
        processes = program.processes()
        assert len(processes) == 3
        program.signal(signal.SIGINT)
        assert program.wait(_SOON) == 0, program.output
        assert "Traceback" not in program.output
        assert_gone(processes, within=0.5)
        assert program.processes() == []
        assert list(program.temporary.iterdir()) == []


def test_the_access_log_has_the_gateway_s_prefix(folder: Path) -> None:
    """Each line of a terminal says whose it is."""
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        _get(f"{_address(program)}/x?y=1")
        program.until(r'^\[gateway\] .*"GET /x" 200')


def test_sigterm_stops_it_as_ctrl_c_does(folder: Path) -> None:
    """What `docker stop` and systemd send."""
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        _address(program)
        program.signal(signal.SIGTERM)
        assert program.wait(_SOON) == 0, program.output
        assert program.processes() == []


SLOW = """
import asyncio
from meshgen import serve

@serve.deployment
class Slow:
    async def __call__(self):
        print("began")
        await asyncio.sleep(600)

app = Slow.bind()
"""


def test_a_second_ctrl_c_stops_at_once(folder: Path) -> None:
    """The first one waits for a running request, the second does not."""
    (folder / "app.py").write_text(SLOW)
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        address = _address(program)
        with start("-c", _ask(address), cwd=folder):
            program.until(r"\[slow#0\] began")
            program.signal(signal.SIGINT)
            program.signal(signal.SIGTERM)  # another one: two of a kind may become one
            assert program.wait(_SOON) == 0, program.output
        assert program.processes() == []


def _ask(address: str) -> str:
    return f"import httpx; httpx.get({address!r}, trust_env=False, timeout=60)"


def test_ctrl_c_during_a_constructor_stops_it(folder: Path) -> None:
    """Nobody has to wait for a model to load in order to stop."""
    (folder / "app.py").write_text(
        APP.replace("self.greeting = greeting", "__import__('time').sleep(600)")
    )
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        program.until(r"\[greeter#0\] a line of Hola")
        program.signal(signal.SIGINT)
        assert program.wait(_SOON) == 0, program.output
        assert program.processes() == []


def test_killed_it_takes_its_processes_along(folder: Path) -> None:
    """SIGKILL leaves no process after two seconds."""
    assert any(_left_by_sigkill(folder) == [] for _ in range(_TRIES))


def _left_by_sigkill(folder: Path, *more: str) -> list[psutil.Process]:
    """What still runs two seconds later; each option is one more process."""
    arguments = ("app:app", "--port", "0", *more)
    with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
        _address(program)
        processes = program.processes()
        assert len(processes) == 3 + len(more)
        program.signal(signal.SIGKILL)
        return left_of(processes, within=2.0)


def test_a_replica_that_dies_is_started_again(folder: Path) -> None:
    """And the terminal tells."""
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        address = _address(program)
        (replica,) = [p for p in program.processes() if "runtime.service" in " ".join(p.cmdline())]
        replica.kill()
        program.until(r"greeter#0 ended unexpectedly \(killed by SIGKILL\): restarts in 0.1 s")
        # What is on its way to the one that died, as long as the gateway knows no better, is 503.
        answers = (_get(address) for _ in range(_TRIES))
        assert next(each.text for each in answers if each.status_code != 503) == "Hola"


def test_arguments_go_to_a_builder(folder: Path) -> None:
    """As `name=value`."""
    arguments = ("app:build", "greeting=Hei", "--port", "0", "--route-prefix", "/hi")
    with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
        address = _address(program)
        assert _get(f"{address}/hi").text == "Hei"
        assert _get(address).status_code == 404


def test_a_file_is_a_target_from_anywhere(tmp_path: Path) -> None:
    """A path needs no current folder."""
    target = f"{EXAMPLES / 'chain' / 'app.py'}:app"
    with start("-m", "meshgen", "run", target, "--port", "0", cwd=tmp_path) as program:
        assert _get(f"{_address(program)}/?number=7").text == "16"


def test_a_constructor_that_fails_ends_it_with_the_user_s_traceback(folder: Path) -> None:
    """Exit status 1, and no frames of ours in it."""
    (folder / "app.py").write_text(FAILING)
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        assert program.wait() == 1
        assert 'raise ValueError("no model")' in program.output
        assert "did not start" in program.output
        assert "meshgen/" not in program.output
        assert program.processes() == []


def test_a_busy_port_is_one_sentence(folder: Path) -> None:
    """Before anything starts: no constructor has run."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        arguments = ("app:app", "--port", str(port))
        with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
            assert program.wait() == 1
    assert program.output.startswith(f"error: cannot serve HTTP on 127.0.0.1:{port}: ")
    assert program.output.count("\n") == 1
    assert "a line of" not in program.output


def test_it_says_where_grpc_is_and_a_busy_port_is_one_sentence(folder: Path) -> None:
    """With what to do; the HTTP port is free again."""
    with start("-m", "meshgen", "run", "app:app", "--port", "0", cwd=folder) as program:
        port = program.until(r"gRPC on 127.0.0.1:(\d+)$")[1]
        _address(program)
        socket.create_connection(("127.0.0.1", int(port)), timeout=20).close()
        arguments = ("app:app", "--port", "0", "--grpc-port", port)
        with start("-m", "meshgen", "run", *arguments, cwd=folder) as other:
            assert other.wait() == 1
    assert other.output.startswith(f"error: cannot serve gRPC on 127.0.0.1:{port}: ")
    assert other.output.count("\n") == 1 and "--grpc-port" in other.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["app"], "'app' is no target: name the module and the application in it"),
        (["nowhere:app"], "nowhere"),
        (["app:ap"], "app has no 'ap'; did you mean 'app'"),
        (["app:Greeter"], "is a deployment that was not bound; did you mean Greeter.bind()?"),
        (["app:app", "greeting"], "'greeting' is no argument: write name=value"),
        (["app:app", "a=1"], "is an application that is already bound and takes no arguments"),
        (["app:app", "--port", "70000"], "port must be from 0 to 65535"),
        (["app:app", "--grpc-port", "-1"], "port must be from 0 to 65535"),
        (["app:app", "--route-prefix", "hi"], "invalid route_prefix 'hi': it must start with '/'"),
        (["app:app", "--name", "1st!"], "the application cannot be called '1st!'"),
        (["app:app", "--reload", "--host", "no.such.host.invalid"], "cannot serve HTTP on no.such"),
    ],
)
def test_a_mistake_is_a_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    """With what to do, and without a traceback."""
    with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
        if "--reload" in arguments:
            program.until(sentence)
            program.signal(signal.SIGINT)
            program.wait()
        else:
            assert program.wait() == 2, program.output
        assert sentence in program.output
        assert "Traceback" not in program.output


@pytest.mark.parametrize("path", BROKEN, ids=lambda path: path.stem)
def test_a_broken_file_shows_no_frame_of_ours(path: Path, tmp_path: Path) -> None:
    """The same sentences as `meshgen build`, wherever a run needs them too."""
    with start("-m", "meshgen", "run", f"{path}:app", "--port", "0", cwd=tmp_path) as program:
        assert program.wait() == 2, program.output
        assert program.output.startswith("error: ")
        assert "/meshgen/" not in program.output


def test_reload_starts_anew_when_the_source_changes(folder: Path) -> None:
    """A mistake in between is shown, and mended by the next change."""
    arguments = ("app:app", "--port", "0", "--reload")
    with start("-m", "meshgen", "run", *arguments, cwd=folder) as program:
        assert _get(_address(program)).text == "Hola"
        (folder / "app.py").write_text(APP.replace("Hola", "Hei"))
        assert _get(_address(program)).text == "Hei"
        (folder / "app.py").write_text("(")
        program.until("'\\(' was never closed")
        (folder / "app.py").write_text(APP.replace("Hola", "Hej"))
        assert _get(_address(program)).text == "Hej"
        program.signal(signal.SIGINT)
        assert program.wait(_SOON) == 0, program.output
        assert "Traceback" not in program.output
        assert program.processes() == []


def test_reload_that_is_killed_leaves_nothing(folder: Path) -> None:
    """Two generations of processes end with it."""
    assert any(_left_by_sigkill(folder, "--reload") == [] for _ in range(_TRIES))
