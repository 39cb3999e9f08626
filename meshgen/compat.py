"""Answer imports of `ray` with meshgen: source for Ray runs with no edit, and with no Ray.

    python -m meshgen.compat SCRIPT [ARGUMENTS]
    python -m meshgen.compat -m MODULE [ARGUMENTS]

The modules under Ray's names hold meshgen's very objects, so `isinstance` and pickles agree with
the rest of meshgen. What they lack fails with an error that names it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import runpy
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from meshgen.settings import variable

# Set to 1 for processes that are to answer imports of Ray, as those of a mesh must whose
# application was loaded that way: they import the user's module as well.
VARIABLE = variable("ray_compat")

_MODULES = {
    "ray": "meshgen",
    "ray.actor": "meshgen.tasks.actor",
    "ray.exceptions": "meshgen.errors",
    "ray.serve": "meshgen.serve",
    "ray.serve.config": "meshgen.serve.config",
    "ray.serve.deployment": "meshgen.serve.deployment",
    "ray.serve.exceptions": "meshgen.serve.exceptions",
    "ray.serve.handle": "meshgen.serve.handle",
    "ray.serve.schema": "meshgen.serve.schema",
}

# What meshgen has in another place, or by another name.
_ELSEWHERE = {
    "ray.exceptions.GetTimeoutError": "meshgen.errors:DeadlineError",
    "ray.exceptions.RayActorError": "meshgen.errors:ReplicaLostError",
    "ray.exceptions.RayError": "meshgen.errors:MeshError",
    "ray.exceptions.TaskCancelledError": "meshgen.errors:RequestCancelledError",
    "ray.serve.HTTPOptions": "meshgen.serve.config:HTTPOptions",
}

_INSTEAD = {
    "ray.exceptions.RayTaskError": "what user code raises arrives as its own class, so catch that",
}


def _attribute(module: ModuleType, name: str) -> Any:
    """`__getattr__` of a module under Ray's name."""
    full = f"{module.__name__}.{name}"
    if full in _MODULES:
        return importlib.import_module(full)
    found = _find(full)
    setattr(module, name, found)  # looked up once: `ray.get` stands in loops
    return found


def _find(full: str) -> Any:
    """What meshgen has under a name of Ray's.

    Raises:
        AttributeError: It has nothing.
    """
    module, _, name = full.rpartition(".")
    place, _, there = _ELSEWHERE.get(full, f"{_MODULES[module]}:{name}").partition(":")
    # Of the names that Python itself gives to modules, only this one is about the content.
    is_python_s = name.startswith("__") and name != "__all__"
    found = None if is_python_s else getattr(importlib.import_module(place), there, None)
    if found is None or isinstance(found, ModuleType):  # a module of meshgen's own layout
        raise AttributeError(_lacking(full))
    return found


def _lacking(full: str) -> str:
    instead = _INSTEAD.get(full, "docs/ray-compat.md tells what there is")
    return f"{full} is not there, as meshgen stands in Ray's place (ray-compat): {instead}"


class RayFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `ray` and what is below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """A spec for modules of Ray; others are left to the other finders.

        Raises:
            ModuleNotFoundError: meshgen has nothing in the place of that module.
        """
        if not is_rays(fullname):
            return None
        if fullname in _MODULES:
            # All are packages: only then does `from ray.x import y` come here for a missing y, and
            # end in our sentence.
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        # Of libraries that look for Ray Tune, say, by importlib.util: they take None for a no.
        if sys._getframe(2).f_globals.get("__name__") == "importlib.util":
            return None
        # Without `name=`: `from x import y` drops an error that has the name of what it looks for.
        raise ModuleNotFoundError(_lacking(fullname))

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Ordinary modules will do; those of a class of our own could not be pickled."""

    def exec_module(self, module: ModuleType) -> None:
        """Have attributes looked up when they are asked for."""
        module.__doc__ = importlib.import_module(_MODULES[module.__name__]).__doc__
        vars(module)["__getattr__"] = partial(_attribute, module)
        if module.__name__ == "ray.serve":
            # A function has the name of a module beside it, whose import would take its place.
            importlib.import_module("ray.serve.deployment")
            vars(module)["deployment"] = _find("ray.serve.deployment")


def is_rays(module: str) -> bool:
    """Whether a module's name is `ray` or below it."""
    return module == "ray" or module.startswith("ray.")


def install() -> None:
    """Answer imports of Ray in this process and in those that it starts from now on.

    A real Ray that is installed is not found any more; modules of one that was imported before
    stay what they are to those who hold them.
    """
    os.environ[VARIABLE] = "1"
    if any(isinstance(finder, RayFinder) for finder in sys.meta_path):
        return
    for name in filter(is_rays, [*sys.modules]):
        del sys.modules[name]
    sys.meta_path.insert(0, RayFinder())


def install_if_asked() -> None:
    """Do so if whoever started this process has asked for it."""
    if os.environ.get(VARIABLE) == "1":
        install()


def main() -> None:
    """Run a script, or a module as one, as `python` would."""
    match sys.argv[1:]:
        case ["-m", name, *_]:
            _run_module(name)
        case [path, *_] if not path.startswith("-"):
            _run_script(path)
        case _:
            sys.exit("usage: python -m meshgen.compat (SCRIPT | -m MODULE) [ARGUMENTS]")


def _run_script(path: str) -> None:
    if not Path(path).exists():
        sys.exit(f"there is no file {path}: give the path of a script, or -m and a module's name")
    install()
    del sys.argv[0]
    if not sys.flags.safe_path:
        sys.path[0] = str(Path(path).resolve().parent)
    runpy.run_path(path, run_name="__main__")


def _run_module(name: str) -> None:
    install()
    del sys.argv[:2]
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        sys.exit(f"there is no module {name}: run this in the folder that holds it")
    runpy.run_module(name, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    # Under its own name: here it is called __main__, as the script is in a moment.
    from meshgen.compat import main as main_of_compat

    main_of_compat()
