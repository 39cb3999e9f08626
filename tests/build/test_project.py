"""The output folder: complete, reproducible, replaced as a whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from meshgen.build.loader import load_target
from meshgen.build.output import digest_of
from meshgen.build.project import Built, build_project
from meshgen.errors import BuildError
from meshgen.specfiles import read_mesh, read_service
from tests.build.conftest import HELLO, WriteApp


def _build(folder: Path, out: Path, *, force: bool = False) -> Built:
    return build_project(load_target(f"{folder / 'app.py'}:app"), out, force=force)


def _content(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }


def _generated(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in _content(out).items() if not name.startswith("certs/")}


def test_everything_is_there(write_app: WriteApp, tmp_path: Path) -> None:
    """The folder of the design, one entry for each deployment, environment and member."""
    _build(write_app(data__words_dot_txt="hola"), tmp_path / "out")
    names = {*_content(tmp_path / "out")}
    assert {
        *("README.md", "compose.yaml", ".env.example", "mesh.json", "buf.yaml", ".gitignore"),
        *("protos/hello/spanish/v1/spanish.proto", "protos/hello/hello/v1/hello.proto"),
        *("protos/meshgen/v1/mesh.proto", "protos/descriptors.binpb"),
        *("services/spanish/service.json", "services/spanish/requirements.txt"),
        *("images/base/Dockerfile", "images/base/requirements.txt", "images/probe.py"),
        *("app/app.py", "app/data/words.txt", "certs/ca.pem", "certs/gateway/key.pem"),
    } <= names
    assert len([name for name in names if name.startswith("vendor/")]) == 1
    assert "compose.gpu.yaml" not in names


def test_the_runtime_reads_what_the_build_wrote(write_app: WriteApp, tmp_path: Path) -> None:
    """mesh.json holds more than the applications, and each service its own folder."""
    _build(write_app(), tmp_path / "out")
    mesh = read_mesh(tmp_path / "out" / "mesh.json")
    assert mesh.ingress_of("hello").service == "hello"
    spec = read_service(tmp_path / "out" / "services" / "spanish")
    assert (spec.target.path, spec.options.num_replicas) == ("app:Spanish", 2)


def test_the_same_input_gives_the_same_bytes(write_app: WriteApp, tmp_path: Path) -> None:
    """Certificates aside, into another folder or the same one."""
    folder = write_app()
    _build(folder, tmp_path / "one")
    _build(folder, tmp_path / "two")
    first = _generated(tmp_path / "one")
    _build(folder, tmp_path / "one")
    assert first == _generated(tmp_path / "two") == _generated(tmp_path / "one")


def test_a_change_of_the_code_gives_the_images_another_tag(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """So that `docker compose up` builds them again; what is in no image changes no tag."""
    first = _build(write_app(), tmp_path / "out").build_id
    assert _build(write_app(), tmp_path / "out").build_id == first
    assert _build(write_app(f"{HELLO}# more\n"), tmp_path / "out").build_id != first


def test_mesh_json_has_the_hash_of_every_generated_file(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Certificates and mesh.json itself apart."""
    _build(write_app(), tmp_path / "out")
    files = json.loads((tmp_path / "out" / "mesh.json").read_bytes())["meshgen"]["files"]
    written = _generated(tmp_path / "out")
    del written["mesh.json"]
    assert files == {name: digest_of(data) for name, data in written.items()}


def test_a_rebuild_keeps_the_users_own_files_and_the_certificates(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """compose.override.yaml and .env are theirs; what is generated no more goes."""
    out = tmp_path / "out"
    _build(write_app(old_dot_py=""), out)
    kept = {"compose.override.yaml": b"services: {}\n", "notes/mine.md": b"x", ".env": b"A=1\n"}
    for name, data in kept.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(data)
    certificates = {name: data for name, data in _content(out).items() if name[:6] == "certs/"}
    (tmp_path / "hello" / "old.py").unlink()
    _build(write_app(f"{HELLO}# more\n"), out)
    after = _content(out)
    assert kept.items() <= after.items()
    assert certificates.items() <= after.items()
    assert "app/old.py" not in after
    assert after["app/app.py"].endswith(b"# more\n")


def test_files_edited_by_hand_are_not_overwritten(write_app: WriteApp, tmp_path: Path) -> None:
    """All are named, and nothing changes; --force overwrites them."""
    folder, out = write_app(), tmp_path / "out"
    _build(folder, out)
    generated = _content(out)
    (out / "compose.yaml").write_text("name: mine\n")
    (out / "app" / "app.py").write_text("# mine\n")
    edited = _content(out)
    with pytest.raises(BuildError) as caught:
        _build(folder, out)
    assert [Path(problem.split()[0]).name for problem in caught.value.problems] == [
        "app.py",
        "compose.yaml",
    ]
    assert _content(out) == edited
    _build(folder, out, force=True)
    assert _content(out) == generated


def test_a_file_of_the_user_in_the_way_of_a_new_one_is_not_overwritten(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Generated for the first time where they have one already."""
    out = tmp_path / "out"
    _build(write_app(), out)
    (out / "app" / "more.py").write_text("# mine\n")
    with pytest.raises(BuildError, match=r"more\.py was edited by hand"):
        _build(write_app(more_dot_py="# generated\n"), out)


def test_a_missing_file_is_made_again(write_app: WriteApp, tmp_path: Path) -> None:
    """To delete is not to edit."""
    folder, out = write_app(), tmp_path / "out"
    _build(folder, out)
    (out / "README.md").unlink()
    _build(folder, out)
    assert (out / "README.md").is_file()


@pytest.mark.parametrize("name", ["letters.txt", "mesh.json"])
def test_a_folder_that_holds_something_else_is_refused(
    write_app: WriteApp, tmp_path: Path, name: str
) -> None:
    """Also with --force, and nothing is written."""
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("{}")
    with pytest.raises(BuildError, match="something that meshgen did not write"):
        _build(write_app(), out, force=True)
    assert [*_content(out)] == [name]


def test_a_file_in_place_of_the_folder_is_refused(write_app: WriteApp, tmp_path: Path) -> None:
    """The folder's name is taken."""
    (tmp_path / "out").write_text("")
    with pytest.raises(BuildError, match="is a file; give a folder"):
        _build(write_app(), tmp_path / "out")


def test_problems_of_every_kind_are_listed_at_once(write_app: WriteApp, tmp_path: Path) -> None:
    """Requirements, the output folder, and the graph."""
    text = HELLO.replace("Spanish.bind(", "Spanish.options(name='gateway').bind(")
    folder = write_app(text, requirements_dot_txt="-e .\n")
    (tmp_path / "out").write_text("")
    with pytest.raises(BuildError) as caught:
        _build(folder, tmp_path / "out")
    assert [problem.partition(":")[0].split(" is ")[0] for problem in caught.value.problems] == [
        "requirements.txt, line 1",
        str(tmp_path / "out"),
        "gateway",
    ]


def test_the_source_folder_itself_is_refused(write_app: WriteApp) -> None:
    """It would be replaced."""
    folder = write_app()
    with pytest.raises(BuildError, match="holds the application's own source"):
        _build(folder, folder)
    assert (folder / "app.py").is_file()


def test_a_build_that_fails_half_way_leaves_everything_as_it_was(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """The certificates cannot be read: neither the old folder nor its siblings change."""
    folder, out = write_app(), tmp_path / "out"
    _build(folder, out)
    (out / "certs" / "ca.key").write_text("damaged")
    before = _content(tmp_path)
    with pytest.raises(Exception, match="certificate authority"):
        _build(write_app(f"{HELLO}# more\n"), out)
    (folder / "app.py").write_text(HELLO)
    after = {name: data for name, data in _content(tmp_path).items() if "__pycache__" not in name}
    assert after == {name: data for name, data in before.items() if "__pycache__" not in name}


def test_a_strict_umask_does_not_close_the_mesh_to_its_containers(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Everything but keys is readable by the user that containers run as."""
    out = tmp_path / "out"
    before = os.umask(0o077)
    try:
        _build(write_app(data__words_dot_txt=""), out)
    finally:
        os.umask(before)
    closed = [path.name for path in [out, *out.rglob("*")] if not path.stat().st_mode & 0o004]
    assert sorted({*closed}) == ["ca.key", "key.pem", "tokens"]


def test_a_link_to_the_output_folder_stays_a_link(write_app: WriteApp, tmp_path: Path) -> None:
    """What it leads to is replaced."""
    folder = write_app()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for _ in range(2):
        _build(folder, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "compose.yaml").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hello", "link", "real"]


def test_the_output_folder_may_be_in_the_source_folder(write_app: WriteApp) -> None:
    """It is left out of what is copied, at the first build and after."""
    folder = write_app()
    for _ in range(2):
        _build(folder, folder / "out")
        assert not (folder / "out" / "app" / "out").exists()


def test_a_module_that_is_left_out_is_a_problem(write_app: WriteApp, tmp_path: Path) -> None:
    """The container could not import it."""
    folder = write_app()
    (folder / ".meshgenignore").write_text("app.py\n")
    with pytest.raises(BuildError) as caught:
        _build(folder, tmp_path / "out")
    assert len(caught.value.problems) == 2
    assert "is left out of the mesh" in caught.value.problems[0]


def test_a_class_from_another_folder_is_a_problem(write_app: WriteApp, tmp_path: Path) -> None:
    """Only the application's folder is copied."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "models.py").write_text("class Model:\n    pass\n")
    text = f"import sys\nsys.path.append({str(elsewhere)!r})\nfrom models import Model\n"
    folder = write_app(f"{text}from meshgen import serve\napp = serve.deployment(Model).bind()\n")
    with pytest.raises(BuildError, match="Model: its module .*models.py is outside of"):
        _build(folder, tmp_path / "out")


LOCAL = """
from meshgen import serve


def make(value):
    class Local:
        def get(self):
            return value

    return serve.deployment(Local).bind()


app = make({value})
"""


def test_a_class_that_cannot_be_imported_travels_by_value(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Closures included."""
    _build(write_app(LOCAL.format(value="7")), tmp_path / "out")
    spec = read_service(tmp_path / "out" / "services" / "local")
    assert spec.target.path is None
    assert spec.target.load()().get() == 7


def test_a_class_that_cannot_travel_at_all_is_a_problem(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """It holds on to something that belongs to this process."""
    folder = write_app(LOCAL.format(value="__import__('threading').Lock()"))
    with pytest.raises(BuildError, match=r"^Local: .*cannot be pickled"):
        _build(folder, tmp_path / "out")


def test_a_working_folder_is_where_a_replica_starts_and_imports_from(
    write_app: WriteApp, tmp_path: Path
) -> None:
    """Before the application's own folder."""
    text = HELLO.replace(
        "num_replicas=2", "ray_actor_options={'runtime_env': {'working_dir': 'lib'}}"
    )
    _build(write_app(text, lib__words_dot_py=""), tmp_path / "out")
    services = yaml.safe_load((tmp_path / "out" / "compose.yaml").read_text())["services"]
    assert services["spanish"]["working_dir"] == "/mesh/app/lib"
    assert services["spanish"]["environment"]["PYTHONPATH"] == "/mesh/app/lib:/mesh/app"
    assert services["hello"]["environment"]["PYTHONPATH"] == "/mesh/app"
