"""Why a graph cannot become a mesh: everything that would otherwise fail in a container."""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from meshgen.build.requirements import problem_with
from meshgen.build.resources import package_folder
from meshgen.errors import SerializationError
from meshgen.graph import Graph, Node
from meshgen.serve.options import ActorOptions
from meshgen.spec import find_target
from meshgen.tasks.service import declared_by


def find_problems(graph: Graph, source_root: Path, sources: Mapping[str, Path]) -> list[str]:
    """One sentence for each thing that stands in the way, with the deployment it is about."""
    of_nodes = [
        f"{node.stub.id.name}: {problem}"
        for node in graph.nodes
        for problem in _of_node(node, source_root, sources)
    ]
    of_tasks = {
        f"{declared.func_or_class.__qualname__}: {problem}": None
        for declared in declared_by(graph)
        for problem in _of_code(declared.func_or_class, source_root, sources)
    }
    return [*of_nodes, *of_tasks]


def _of_node(node: Node, source_root: Path, sources: Mapping[str, Path]) -> Iterator[str]:
    actor = node.application.deployment.deployment_options.actor
    target = node.application.deployment.func_or_class
    yield from _of_code(target, source_root, sources)
    yield from _of_env_vars(actor)
    yield from _of_working_dir(actor, source_root, sources)
    for line in actor.pip:
        problem = problem_with(line)
        if problem is not None:
            yield f"pip of its runtime_env: {problem}"


def _of_code(
    target: Callable[..., Any], source_root: Path, sources: Mapping[str, Path]
) -> Iterator[str]:
    """The class must be importable in a container: from the copied folder or a package."""
    try:
        path = find_target(target).path
    except SerializationError as exc:
        yield str(exc)
        return
    module = (path or "").partition(":")[0]
    found = getattr(sys.modules.get(module), "__file__", None)
    if found is None or _is_installed(Path(found)):
        return
    file = Path(found).resolve()
    if file in {source.resolve() for source in sources.values()}:
        return
    if file.is_relative_to(source_root.resolve()):
        yield f"its module {file} is left out of the mesh; remove it from the ignore file"
    else:
        yield (
            f"its module {file} is outside of {source_root}, the folder that is copied into the "
            "mesh; move it there, or install it as a package that requirements.txt names"
        )


def _is_installed(file: Path) -> bool:
    installed = {"site-packages", "dist-packages"} & {*file.parts}
    ours = file.is_relative_to(package_folder())
    return bool(installed) or ours or file.is_relative_to(sysconfig.get_path("stdlib"))


def _of_env_vars(actor: ActorOptions) -> Iterator[str]:
    for name in actor.env_vars:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield f"env_vars of its runtime_env has {name!r}, which no environment can hold"
        elif name.startswith("MESHGEN_") or name == "PYTHONPATH":
            yield (
                f"env_vars of its runtime_env has {name}, which the mesh sets itself; "
                "choose another name"
            )


def _of_working_dir(
    actor: ActorOptions, source_root: Path, sources: Mapping[str, Path]
) -> Iterator[str]:
    given = actor.working_dir
    if given is None:
        return
    subfolder = working_dir_in(source_root, given)
    if subfolder is None:
        yield (
            f"working_dir of its runtime_env is {given!r}, which is not in {source_root}, the "
            "folder that is copied into the mesh; name a folder in there, relative to it"
        )
    elif not any(PurePosixPath(name).parts[: len(subfolder)] == subfolder for name in sources):
        yield (
            f"working_dir of its runtime_env is {given!r}, but {source_root} has no such folder "
            "with files to copy; create it, or correct the name"
        )


def working_dir_in(source_root: Path, given: str | None) -> tuple[str, ...] | None:
    """The folder's path below the source root, by parts; None if it is not in there."""
    if given is None:
        return ()
    root = source_root.resolve()
    wanted = (root / given).resolve()
    if "://" in given or not wanted.is_relative_to(root):
        return None
    return wanted.relative_to(root).parts
