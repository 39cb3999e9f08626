"""Import the module that a target names, and say in a sentence why that cannot be done."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from meshgen.build.resources import package_folder
from meshgen.compat import is_rays
from meshgen.errors import OptionError, OptionTypeError, TargetError, UnknownMethodError

# What we raise ourselves where code says what it wants: a sentence, and the line that it is about.
MISTAKES = (OptionError, OptionTypeError, UnknownMethodError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleSource:
    """A module by name, and the folder that must be on `sys.path` to import it."""

    name: str
    root: Path


def locate(reference: str) -> ModuleSource:
    """Where `pkg.module` or `path/to/file.py` is imported from.

    Raises:
        TargetError: There is no such file.
    """
    if not reference.endswith(".py") and "/" not in reference:
        return ModuleSource(name=reference, root=Path.cwd())
    path = Path(reference).resolve()
    if not path.is_file():
        raise TargetError(
            f"there is no file {reference}; give the path of a Python file, as in "
            "path/to/app.py:app, or a module, as in package.module:app"
        )
    root, parts = path.parent, [path.stem]
    # A file inside of a package is imported under its full name, or its relative imports fail.
    while (root / "__init__.py").is_file():
        parts.insert(0, root.name)
        root = root.parent
    return ModuleSource(name=".".join(parts), root=root)


def import_user_module(source: ModuleSource) -> ModuleType:
    """Import the module, with its folder first on `sys.path`.

    Raises:
        TargetError: It is not there, has a syntax error, or raises at import.
    """
    _put_first(source.root)
    _forget_namesake(source)
    try:
        return importlib.import_module(source.name)
    except SyntaxError as exc:
        raise TargetError(_syntax_sentence(source, exc)) from exc
    except ModuleNotFoundError as exc:
        if exc.name is not None and f"{source.name}.".startswith(f"{exc.name}."):
            raise TargetError(
                f"there is no module {source.name!r} in {source.root} or among the installed "
                "packages; run this in the folder that holds it, or give the path of its file, "
                "as in path/to/app.py:app"
            ) from exc
        raise TargetError(_raised(source, exc) + _hint(exc)) from exc
    except MISTAKES as exc:
        raise TargetError(f"{source.name} cannot be imported: {mistake(exc)}") from exc
    except (Exception, SystemExit) as exc:
        raise TargetError(_raised(source, exc)) from exc


def user_traceback(error: BaseException) -> str:
    """The traceback as the user's code sees it: without our frames and the import machinery's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen importlib") and not _is_ours(frame.filename)
    ]
    lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
    lines += traceback.format_exception_only(error)
    return "".join(lines if frames else lines[1:]).rstrip()


def mistake(error: BaseException) -> str:
    """One of `MISTAKES` with the line of the user's code that made it."""
    library = sysconfig.get_path("stdlib")
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not (frame.filename.startswith(("<", library)) or _is_ours(frame.filename))
    ]
    if not frames:
        return str(error)
    last = frames[-1]
    return f"{error} ({last.filename}, line {last.lineno}); correct that line:\n    {last.line}"


def _is_ours(filename: str) -> bool:
    return Path(filename).is_relative_to(package_folder()) or filename.endswith(
        "importlib/__init__.py"
    )


def _put_first(root: Path) -> None:
    entry = str(root)
    if sys.path[:1] != [entry]:
        sys.path[:] = [entry, *(other for other in sys.path if other != entry)]
    importlib.invalidate_caches()


def _forget_namesake(source: ModuleSource) -> None:
    """Drop an imported module of the same name that came from another folder."""
    loaded = sys.modules.get(source.name)
    if loaded is None:
        return
    wanted = source.root.joinpath(*source.name.split("."))
    found = getattr(loaded, "__file__", None)
    here = {wanted.with_suffix(".py"), wanted / "__init__.py"}
    if any(path.is_file() for path in here) and (found is None or Path(found) not in here):
        for name in [*sys.modules]:
            if name == source.name or name.startswith(f"{source.name}."):
                del sys.modules[name]


def _syntax_sentence(source: ModuleSource, error: SyntaxError) -> str:
    shown = "" if error.text is None else f"\n    {error.text.strip()}"
    return (
        f"{source.name} cannot be imported: {error.msg} "
        f"({error.filename}, line {error.lineno}); correct that line:{shown}"
    )


def _raised(source: ModuleSource, error: BaseException) -> str:
    return (
        f"{source.name} raised {type(error).__name__} while it was imported; "
        f"correct that and try again:\n\n{user_traceback(error)}"
    )


def _hint(error: ModuleNotFoundError) -> str:
    if not is_rays(error.name or ""):
        return ""
    return "\n\nThis is source for Ray: did you mean --ray-compat, which runs it on meshgen?"
