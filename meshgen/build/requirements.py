"""What an image installs: the user's requirements, the deployment's, and the runtime's own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from meshgen.build.wheel import own_requirements

# What a running service imports; the rest of meshgen's requirements is for building only.
RUNTIME = (
    "cloudpickle",
    "grpcio",
    "grpcio-health-checking",
    "grpcio-reflection",
    "grpcio-status",
    "prometheus-client",
    "protobuf",
    "starlette",
    "uvicorn",
    "uvloop",
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Options of pip that make sense in an image.
_OPTIONS = ("--index-url", "--extra-index-url", "--find-links", "--pre", "--only-binary")


@dataclass(frozen=True, slots=True)
class UserRequirements:
    """The lines of a user's requirements, and why some of them cannot be used."""

    lines: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_requirements(path: Path) -> UserRequirements:
    """Read a requirements file with the files it includes; nothing if there is none."""
    if not path.is_file():
        return UserRequirements()
    reader = _Reader(root=path.parent)
    reader.read(path)
    return UserRequirements(tuple(reader.lines), tuple(reader.problems))


@dataclass
class _Reader:
    root: Path
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    def read(self, path: Path) -> None:
        if path in self.seen:
            return
        self.seen.add(path)
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for number, line in enumerate(text.splitlines(), start=1):
            line = re.sub(r"(^|\s)#.*", "", line).strip()
            if line:
                self.add(path, f"{path.relative_to(self.root).as_posix()}, line {number}", line)

    def add(self, path: Path, where: str, line: str) -> None:
        included = re.fullmatch(r"(?:-r|--requirement)[\s=]+(\S+)", line)
        if included is None:
            problem = problem_with(line)
            if problem is not None:
                self.problems.append(f"{where}: {problem}")
            elif name_of(line) != "meshgen":
                self.lines.append(line)
        elif not (path.parent / included[1]).is_file():
            self.problems.append(f"{where}: there is no file {included[1]} beside it to include")
        else:
            self.read(path.parent / included[1])


def problem_with(line: str) -> str | None:
    """Why an image cannot install this requirement; None if it can."""
    if line.startswith(_OPTIONS):
        return None
    if name_of(line) and "/" not in line.partition("@")[0].partition(";")[0]:
        return None
    return (
        f"{line!r} cannot be installed in an image, which has the application's folder and a "
        "package index only; name a package, or a URL as `name @ https://...`"
    )


def name_of(line: str) -> str:
    """The normalised name of a requirement; empty if it begins with none."""
    found = _NAME.match(line)
    return "" if found is None else re.sub(r"[-_.]+", "-", found[0]).lower()


def without(names: frozenset[str], lines: Sequence[str]) -> tuple[str, ...]:
    """The lines that ask for none of these packages."""
    return tuple(line for line in lines if name_of(line) not in names)


def image_requirements(user: Sequence[str], pip: Sequence[str] = ()) -> tuple[str, ...]:
    """What pip gets: the user's lines as they are, then the runtime at the versions used here.

    A deployment's own `pip` lines replace those of the same packages. Where the user names a
    package of the runtime, theirs decides and only our floor stays.
    """
    own = {name_of(line) for line in pip}
    lines = list(dict.fromkeys([*(line for line in user if name_of(line) not in own - {""}), *pip]))
    named = {name_of(line) for line in lines}
    floors = {name_of(line): line for line in own_requirements()}
    for name in sorted(_with_dependencies(RUNTIME)):
        if name not in named:
            lines.append(f"{name}=={metadata.version(name)}")
        elif name in floors:
            lines.append(floors[name])
    return tuple(lines)


def _with_dependencies(names: Sequence[str]) -> set[str]:
    found: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name not in found and _is_installed(name):
            found.add(name)
            open_names += _dependencies(name)
    return found


def _dependencies(name: str) -> Iterator[str]:
    for line in metadata.requires(name) or ():
        if "extra ==" not in line:
            yield name_of(line)


def _is_installed(name: str) -> bool:
    # One that is required on other platforms only is not there, and not needed either.
    return any(True for _ in metadata.distributions(name=name))
