"""`meshgen certs`, `connect` and `status`, on the folder of a mesh that was built."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from meshgen.build.authority import read_authority
from meshgen.build.loader import load_target
from meshgen.build.project import build_project
from meshgen.cli import main

APP = Path(__file__).parent / "apps" / "boundary" / "app.py"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mesh of tests/apps/boundary."""
    out = tmp_path_factory.mktemp("built") / "out"
    build_project(load_target(f"{APP}:app", name="shop"), out)
    return out


@pytest.fixture
def out(built: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    shutil.copytree(built, tmp_path / "out")
    return tmp_path / "out"


def _meshgen(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)


def test_a_build_warns_of_lookups_that_cannot_be_read(tmp_path: Path) -> None:
    """Of the stranger's; the other one of its class has declared what it calls."""
    ran = _meshgen("build", f"{APP}:app", "-o", tmp_path / "out", "--name", "shop")
    assert ran.exit_code == 0
    warnings = [line for line in ran.stderr.splitlines() if line.startswith("warning:")]
    (warning,) = [line for line in warnings if "may_call" in line]
    assert "Stranger looks deployments up" in warning


def test_the_mesh_file_lists_the_edges(built: Path) -> None:
    """Bound ones and declared ones, by name."""
    edges = json.loads((built / "mesh.json").read_bytes())["applications"]["shop"]["edges"]
    assert {caller: callees for caller, callees in edges.items() if callees} == {
        "Friend": ["Vault"],
        "Declared": ["Vault"],
        "Front": ["Declared", "Friend", "Stranger"],
    }


def test_a_certificate_is_issued_with_the_command_that_uses_it(out: Path, tmp_path: Path) -> None:
    """In the mesh's folder, or elsewhere."""
    ran = _meshgen("certs", "issue", out, "dora", "--may-call", "Vault", "--days", "7")
    folder = out / "certs" / "clients" / "dora"
    assert ran.exit_code == 0 and (folder / "key.pem").is_file()
    assert f"meshgen connect {out} --cert {folder} -- python program.py" in ran.stdout
    elsewhere = tmp_path / "bob"
    assert _meshgen("certs", "issue", out, "bob", "--out", elsewhere).exit_code == 0
    assert (elsewhere / "ca.pem").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["issue", "{out}", "Dora!"], "a client's name is made of a-z, 0-9 and '-', got 'Dora!'"),
        (["issue", "{out}", "dora", "--may-call", "Safe"], "--may-call names Safe, which the mesh"),
        (["issue", "{empty}", "dora"], "holds no mesh that can be read; name a folder that"),
        (["rotate", "{empty}"], "has no certificate authority"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    built: Path, tmp_path: Path, arguments: Sequence[str], sentence: str
) -> None:
    """Nothing is written."""
    filled = [each.format(out=built, empty=tmp_path) for each in arguments]
    ran = _meshgen("certs", *filled)
    assert ran.exit_code in (1, 2)
    assert ran.stderr.startswith("error: ") and sentence in ran.stderr
    assert not (built / "certs" / "clients").exists()


def test_rotated_members_are_listed_with_their_new_ends(out: Path) -> None:
    """With `--ca` and `--forget-old-ca` under a new authority alone."""
    before = (out / "certs" / "ca.pem").read_bytes()
    ran = _meshgen("certs", "rotate", out, "--ca", "--forget-old-ca")
    assert ran.exit_code == 0
    assert re.search(r"^vault: until \d{4}-\d\d-\d\d$", ran.stdout, re.M)
    after = (out / "certs" / "ca.pem").read_bytes()
    assert before not in after and after.count(b"BEGIN CERTIFICATE") == 1


def test_the_status_fails_once_a_certificate_has_ended(out: Path) -> None:
    """And says which one; before that it does not."""
    assert _meshgen("status", out).exit_code == 0
    authority = read_authority(out / "certs")
    assert authority is not None
    ended = authority.issue("vault", "meshgen://shop/vault", days=-1)
    (out / "certs" / "vault" / "cert.pem").write_bytes(ended.cert)
    ran = _meshgen("status", out)
    assert ran.exit_code == 1
    assert re.search(r"^vault +ended \d{4}-\d\d-\d\d$", ran.stdout, re.M)


def test_the_status_is_json_for_scripts(built: Path) -> None:
    """Each one's end as a time."""
    shown = json.loads(_meshgen("status", built, "--json").stdout)
    assert re.match(r"\d{4}-\d\d-\d\dT", shown["certificates"]["gateway"])
    assert "containers" in shown


def test_a_program_that_is_not_there_is_named(built: Path, tmp_path: Path) -> None:
    """With what was expected."""
    for name in ("ca", "cert", "key"):
        (tmp_path / f"{name}.pem").touch()
    elsewhere = ("--resolver", "dns:{service}:50051")
    ran = _meshgen("connect", built, "--cert", tmp_path, *elsewhere, "--", "no-such-program")
    assert ran.exit_code == 2
    assert "no-such-program cannot be run: No such file or directory" in ran.stderr


def test_a_program_does_not_start_without_a_whole_certificate(built: Path, tmp_path: Path) -> None:
    """The sentence says which file is missing."""
    (tmp_path / "ca.pem").touch()
    elsewhere = ("--resolver", "dns:{service}:50051")
    ran = _meshgen("connect", built, "--cert", tmp_path, *elsewhere, "--", "python", "-c", "0")
    assert ran.exit_code == 2
    assert "has no cert.pem: name a folder that meshgen certs issue has written" in ran.stderr


def test_a_program_does_not_wait_for_a_mesh_that_does_not_run(built: Path, tmp_path: Path) -> None:
    """It is not started; the sentence says how the mesh is, and what to do for one elsewhere."""
    ran = _meshgen("connect", built, "--cert", tmp_path, "--", "python", "-c", "0")
    assert ran.exit_code == 2
    assert f"docker compose up -d --wait in {built} starts it; for a mesh elsewhere" in ran.stderr
