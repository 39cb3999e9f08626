"""What pyright says of handles, deployments and generated clients: what mypy does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.build.client.apps import ECHO
from tests.build.client.test_package import ODD, USES
from tests.build.test_handles import APP
from tests.clients.conftest import build

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# By mypy's codes, which the samples name.
_RULES = {
    "arg-type": "reportArgumentType",
    "assignment": "reportAssignmentType",
    "attr-defined": "reportAttributeAccessIssue",
    "call-arg": "reportCallIssue",
    "name-defined": "reportUndefinedVariable",
    "type-arg": "reportMissingTypeArgument",
}
_REVEALED = re.compile(r'Type of ".*" is "(.*)"')


@dataclass(frozen=True, kw_only=True)
class Told:
    """One line of what pyright says."""

    file: str
    line: int
    severity: str
    rule: str
    message: str

    @property
    def is_unknown(self) -> bool:
        """Whether it only says that something else is wrong, somewhere."""
        return self.rule.startswith("reportUnknown")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[Told]:
    """All that pyright says of all samples: strictly where it is users' code."""
    folder = tmp_path_factory.mktemp("pyright")
    samples = {"app": APP, "uses": USES, "parrot_app": ECHO, "odd_app": ODD}
    for name, text in samples.items():
        (folder / f"{name}.py").write_text(text)
    for module, name in (("app", "hello"), ("parrot_app", "parrot"), ("odd_app", "odd")):
        build(f"{folder / module}.py:app", name, folder / "out" / name)
    libraries = ["out/hello/handles", "out/parrot/clients/python", "out/odd/clients/python"]
    config = {
        "typeCheckingMode": "standard",
        "include": ["app.py", "uses.py", *libraries],
        "strict": ["app.py", "uses.py"],
        "extraPaths": [*libraries, str(ROOT)],
        "pythonVersion": "3.11",
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(config))
    return _pyright(folder)


def _pyright(folder: Path) -> list[Told]:
    ran = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode in (0, 1), f"{ran.stdout}\n{ran.stderr}"
    return [
        Told(
            file=str(Path(each["file"]).relative_to(folder)),
            line=each["range"]["start"]["line"] + 1,
            severity=each["severity"],
            rule=each.get("rule", ""),
            message=each["message"],
        )
        for each in json.loads(ran.stdout)["generalDiagnostics"]
    ]


def _lines(sample: str, comment: str) -> dict[int, str]:
    """What a sample's comments promise, by line."""
    numbered = enumerate(sample.splitlines(), start=1)
    return {at: found[1] for at, text in numbered if (found := re.search(comment, text))}


@pytest.mark.parametrize(("file", "sample"), [("app.py", APP), ("uses.py", USES)])
def test_mistakes_are_errors_and_nothing_else_is(told: list[Told], file: str, sample: str) -> None:
    """Wrong arguments, misspelt methods, a stream without the option: none needs an ignore."""
    mistakes = _lines(sample, r"  # (?!is )(.*)$")
    errors = [each for each in told if each.file == file and each.severity == "error"]
    found = {(each.line, each.rule) for each in errors if not each.is_unknown}
    assert found == {(line, _RULES[code]) for line, code in mistakes.items()}
    # The method `app` has a `list` of nobody knows what among its parameters.
    [*known] = _lines(sample, r"(inner\.app\.remote)")
    unknown = {each.line for each in errors if each.is_unknown}
    assert unknown - {*mistakes} == {*known}


def test_calls_have_the_types_that_mypy_sees(told: list[Told]) -> None:
    """Responses, streams, results, and what `bind` makes."""
    revealed = {
        each.line: found[1]
        for each in told
        if each.file == "app.py" and (found := _REVEALED.fullmatch(each.message))
    }
    promised = _lines(APP, r"  # is (.*)$")
    assert revealed == {
        line: re.sub(r"(?:\w+\.)+(\w+)", r"\1", text) for line, text in promised.items()
    }


def test_generated_files_have_no_errors(told: list[Told]) -> None:
    """Handles and clients, whatever names are in them."""
    errors = [each for each in told if each.severity == "error"]
    generated = [each for each in errors if each.file.startswith("out/")]
    assert generated == []
