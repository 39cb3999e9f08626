"""Targets: which lead to an application, and what is said of those that do not."""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

import pytest

from meshgen.build.loader import load_target, parse_arguments
from meshgen.errors import TargetError
from tests.build.conftest import HELLO, WriteApp

BUILDER = f"""{HELLO}

def build(arguments):
    return Hello.bind(Spanish.bind(arguments["greeting"]))
"""
PYDANTIC = f"""{HELLO}
import pydantic

class Arguments(pydantic.BaseModel):
    greeting: str
    times: int = 1

def build(arguments: Arguments):
    return Hello.bind(Spanish.bind(arguments.greeting * arguments.times))
"""


def test_a_file_is_imported_by_name_from_its_own_folder(write_app: WriteApp) -> None:
    """Classes have an import path, and files beside the application can be imported."""
    folder = write_app(f"import words\n{HELLO}", words_dot_py="HOLA = 'Hola'")
    loaded = load_target(f"{folder / 'app.py'}:app")
    assert loaded.application.deployment.func_or_class.__module__ == "app" == loaded.module
    assert loaded.source_root == folder
    assert sys.modules["words"].__file__ == str(folder / "words.py")


def test_a_module_is_found_in_the_current_folder(write_app: WriteApp) -> None:
    """`module:attribute` resolves from where the command runs."""
    folder = write_app("", shop__front_dot_py=HELLO)
    with chdir(folder):
        loaded = load_target("shop.front:app")
    assert (loaded.app_name, loaded.module, loaded.source_root) == ("front", "shop.front", folder)


def test_a_file_of_a_package_is_imported_under_its_full_name(write_app: WriteApp) -> None:
    """Relative imports work, and the folder above the package is the source root."""
    words = "HOLA = 'Hola'"
    front = f"from .words import HOLA\n{HELLO}"
    init = ""
    folder = write_app("", shop____init___dot_py=init, shop__words_dot_py=words)
    (folder / "shop" / "__init__.py").write_text("")
    (folder / "shop" / "app.py").write_text(front)
    loaded = load_target(f"{folder / 'shop' / 'app.py'}:app")
    assert (loaded.module, loaded.source_root, loaded.app_name) == ("shop.app", folder, "shop")


def test_two_files_of_one_name_are_two_modules(write_app: WriteApp, tmp_path: Path) -> None:
    """Loading another folder's app.py does not give the first one again."""
    first = load_target(f"{write_app() / 'app.py'}:app")
    other = tmp_path / "other"
    other.mkdir()
    (other / "app.py").write_text(HELLO)
    second = load_target(f"{other / 'app.py'}:app")
    assert second.application is not first.application
    assert second.app_name == "other"


def test_an_application_is_named_after_its_folder_or_as_asked(write_app: WriteApp) -> None:
    """`app.py` says nothing, so the folder's name is taken; --name overrides."""
    target = f"{write_app() / 'app.py'}:app"
    assert load_target(target).app_name == "hello"
    assert load_target(target, name="Shop").app_name == "Shop"


@pytest.mark.parametrize("name", ["1st", "日本", "-", "x" * 64])
def test_a_name_that_cannot_be_dns_is_refused(write_app: WriteApp, name: str) -> None:
    """The application's name becomes Compose's project and a proto package."""
    with pytest.raises(TargetError, match="give another with --name"):
        load_target(f"{write_app() / 'app.py'}:app", name=name)


def test_a_builder_gets_its_arguments_as_a_dict(write_app: WriteApp) -> None:
    """A function of one parameter builds the application."""
    loaded = load_target(f"{write_app(BUILDER) / 'app.py'}:build", {"greeting": "Hei"})
    assert loaded.application.args[0].args == ("Hei",)


def test_a_builder_gets_its_arguments_as_its_pydantic_model(write_app: WriteApp) -> None:
    """An annotated model is validated, so text becomes numbers."""
    target = f"{write_app(PYDANTIC) / 'app.py'}:build"
    loaded = load_target(target, {"greeting": "Hei", "times": "2"})
    assert loaded.application.args[0].args == ("HeiHei",)
    with pytest.raises(TargetError, match=r"were given \(times: Input should be a valid integer"):
        load_target(target, {"greeting": "Hei", "times": "two"})


def test_a_builder_whose_annotation_leads_nowhere_gets_a_dict(write_app: WriteApp) -> None:
    """Types that are imported for a type checker only are not there at run time."""
    text = BUILDER.replace("build(arguments)", "build(arguments: 'Nowhere')")
    loaded = load_target(f"{write_app(text) / 'app.py'}:build", {"greeting": "Hei"})
    assert loaded.application.args[0].args == ("Hei",)


def test_arguments_for_an_application_that_is_already_bound_are_refused(
    write_app: WriteApp,
) -> None:
    """They would have no effect."""
    with pytest.raises(TargetError, match="already bound and takes no arguments, but size"):
        load_target(f"{write_app() / 'app.py'}:app", {"size": "1"})


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("app", "name the module and the application in it"),
        (":app", "name the module and the application in it"),
        ("app.py:", "name the module and the application in it"),
        ("no/such/app.py:app", "there is no file no/such/app.py"),
        ("no_such_module:app", "there is no module 'no_such_module'"),
        ("meshgen.no_such:app", "there is no module 'meshgen.no_such'"),
    ],
)
def test_a_target_that_leads_nowhere_says_what_one_looks_like(target: str, sentence: str) -> None:
    """No colon, no attribute, no file and no module each have a sentence."""
    with pytest.raises(TargetError) as caught:
        load_target(target)
    assert sentence in str(caught.value)


def test_arguments_are_name_and_value() -> None:
    """A value may hold '=' and may be empty."""
    assert parse_arguments(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("given", [["a"], ["=1"], ["1a=1"], ["a=1", "a=2"]])
def test_malformed_arguments_are_refused(given: list[str]) -> None:
    """No name, no '=', or the same name twice."""
    with pytest.raises(TargetError, match="write name=value|given twice"):
        parse_arguments(given)
