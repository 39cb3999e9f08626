"""`meshgen build` and `meshgen graph` as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from meshgen.cli import main
from tests.build.conftest import HELLO, WriteApp

BUILDER = f"{HELLO}\ndef build(given):\n    return Hello.bind(Spanish.bind(given['greeting']))\n"


def test_build_writes_the_folder_and_says_what_to_do_next(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """The summary names the services and the next commands, without colours in a pipe."""
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["build", f"{write_app() / 'app.py'}:app", "-o", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "spanish  ×2" in ran.stdout and f"cd {out}" in ran.stdout
    assert "docker compose up -d --wait" in ran.stdout
    assert "\x1b" not in ran.output
    assert (out / "compose.yaml").is_file()


def test_json_is_all_that_is_printed_for_scripts(write_app: WriteApp, tmp_path: Path) -> None:
    """One document on stdout."""
    target = f"{write_app() / 'app.py'}:app"
    command = ["build", target, "-o", str(tmp_path / "out"), "--name", "shop", "--json"]
    summary = json.loads(CliRunner().invoke(main, command).stdout)
    assert summary["application"] == "shop"
    assert [service["name"] for service in summary["services"]] == ["spanish", "hello"]
    assert summary["images"] == [f"shop-base:{summary['build_id']}"]


def test_arguments_reach_the_builder(write_app: WriteApp, tmp_path: Path) -> None:
    """name=value, and `=` in the value."""
    target = f"{write_app(BUILDER) / 'app.py'}:build"
    command = ["build", target, "greeting=a=b", "-o", str(tmp_path / "out")]
    assert CliRunner().invoke(main, command).exit_code == 0
    service = json.loads((tmp_path / "out" / "services" / "spanish" / "service.json").read_text())
    assert service["arguments"]["args"] == ["a=b"]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["build", "app", "-o", "out"], "name the module and the application in it"),
        (["build", "no.py:app", "-o", "out"], "there is no file no.py"),
        (["build", "no.py:app", "x", "-o", "out"], "write name=value"),
        (["build", "no.py:app"], "Missing option '-o'"),
        (["graph", "no.py:app"], "there is no file no.py"),
    ],
)
def test_a_mistake_is_a_sentence_on_stderr_and_exit_code_2(
    command: list[str], sentence: str
) -> None:
    """No traceback reaches a user for a mistake of theirs."""
    ran = CliRunner().invoke(main, command)
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert sentence in ran.stderr and "Traceback" not in ran.stderr


def test_all_problems_of_a_build_are_listed(write_app: WriteApp, tmp_path: Path) -> None:
    """One line each."""
    folder = write_app(requirements_dot_txt="./wheel\n-e .\n")
    out = tmp_path / "out"
    ran = CliRunner().invoke(main, ["build", f"{folder / 'app.py'}:app", "-o", str(out)])
    assert ran.exit_code == 2
    lines = ran.stderr.splitlines()
    assert [line.split(",")[0] for line in lines] == ["error: requirements.txt"] * 2
    assert not out.exists()


def test_an_output_folder_that_cannot_be_made_is_exit_code_1(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Not the application's fault, and still a sentence."""
    (tmp_path / "file").touch()
    target = f"{write_app() / 'app.py'}:app"
    ran = CliRunner().invoke(main, ["build", target, "-o", str(tmp_path / "file" / "out")])
    assert ran.exit_code == 1
    assert "Not a directory" in ran.stderr or "File exists" in ran.stderr


@pytest.mark.parametrize(
    ("as_format", "part"), [("text", "└─ spanish"), ("mermaid", "flowchart LR")]
)
def test_graph_prints_the_picture(write_app: WriteApp, as_format: str, part: str) -> None:
    """Nothing is written."""
    target = f"{write_app() / 'app.py'}:app"
    ran = CliRunner().invoke(main, ["graph", target, "--format", as_format])
    assert ran.exit_code == 0 and part in ran.stdout


def test_graph_draws_to_a_file(write_app: WriteApp, tmp_path: Path) -> None:
    """Beside what it prints."""
    target = f"{write_app() / 'app.py'}:app"
    picture = tmp_path / "graph.svg"
    ran = CliRunner().invoke(main, ["graph", target, "--format", "json", "--svg", str(picture)])
    assert json.loads(ran.stdout)["ingress"] == "hello"
    assert picture.read_text().startswith("<svg ")


def test_the_command_resolves_modules_in_the_current_folder(write_app: WriteApp) -> None:
    """As installed, in a process of its own, in the application's folder."""
    ran = subprocess.run(
        [Path(sys.executable).with_name("meshgen"), "graph", "app:app"],
        cwd=write_app(),
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("hello: 2 services, 3 replicas")
