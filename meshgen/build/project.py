"""`meshgen build`: from a loaded application to a folder that runs as a mesh."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshgen.build.certs import Owner, write_certificates
from meshgen.build.contents import all_files
from meshgen.build.contract import Contract, check_breaking, make_contract
from meshgen.build.loader import Loaded
from meshgen.build.lookups import unreadable_lookups
from meshgen.build.output import (
    OutputFolder,
    check_replaceable,
    inspect_output,
    replace_output,
)
from meshgen.build.plan import Plan, make_plan
from meshgen.build.requirements import UserRequirements, read_requirements
from meshgen.build.source import source_files
from meshgen.build.tokens import write_tokens
from meshgen.errors import BuildError
from meshgen.graph import Graph, build_graph
from meshgen.specfiles import LOCK
from meshgen.tasks.service import task_graph, uses_tasks
from meshgen.typed.lockfile import read_lock
from meshgen.typed.numbers import Lock

# Who containers run as where the builder is root, as images must not run as root.
_CONTAINER_USER = 10001

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build wrote, and where."""

    out: Path
    plan: Plan
    contract: Contract
    build_id: str
    files: int
    # What may surprise whoever runs it, a sentence each.
    warnings: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """As JSON for scripts."""
        return {
            "out": str(self.out),
            "application": self.plan.app,
            "build_id": self.build_id,
            "files": self.files,
            "typed_rpcs": self.contract.rpcs,
            "untyped": self.contract.problems,
            "breaking": list(self.contract.breaking),
            "warnings": list(self.warnings),
            "images": [
                f"{environment.repository}:{self.build_id}"
                for environment in self.plan.environments
            ],
            "services": [
                {
                    "name": service.name,
                    "deployment": service.deployment,
                    "replicas": int(service.replicas.default),
                }
                for service in self.plan.services
            ],
        }


def build_project(
    loaded: Loaded,
    out: Path,
    *,
    force: bool = False,
    tasks: bool = False,
    keep_clients: bool = False,
    progress: Progress = lambda step: None,
) -> Built:
    """Write the mesh of an application to a folder, all or nothing.

    With the task service if the application declares tasks, or with `tasks`. With `keep_clients`,
    only if all clients of what the folder holds can go on.

    Raises:
        BuildError: It cannot be built, or the folder holds something else; lists every reason.
        BreakingChangeError: Clients would break, and `keep_clients` forbids that.
        OptionError: The folder's lock cannot be read, or has no numbers left.
    """
    progress("planning")
    inputs = _read_inputs(loaded, out.resolve())
    sources = source_files(loaded.source_root, without=[inputs.folder.path])
    companions = [task_graph()] if tasks or uses_tasks(inputs.graph) else []
    plan = _plan(loaded, inputs, sources, companions)
    progress("reading type hints")
    contract = make_contract(inputs.graph, inputs.lock, companions)
    if keep_clients:
        check_breaking(contract.breaking)
    progress("generating protos, images and services")
    files, build_id = all_files([*companions, inputs.graph], plan, contract, sources)
    folder = inputs.folder
    if not force:
        check_replaceable(folder, files)
    progress(f"writing {len(files)} files to {out}")
    replace_output(folder, files, lambda certs: _write_secrets(certs, plan, folder.certs))
    return Built(
        out=out,
        plan=plan,
        contract=contract,
        build_id=build_id,
        files=len(files),
        warnings=(*contract.breaking, *unreadable_lookups(inputs.graph)),
    )


def _plan(
    loaded: Loaded, inputs: _Inputs, sources: Mapping[str, Path], companions: Sequence[Graph]
) -> Plan:
    return make_plan(
        inputs.graph,
        source_root=loaded.source_root,
        sources=sources,
        user=inputs.user,
        owner=container_user(),
        ray_compat=loaded.ray_compat,
        companions=companions,
    )


def _write_secrets(certs: Path, plan: Plan, old: Path | None) -> None:
    write_certificates(certs, plan.identities, plan.owner, old=old)
    write_tokens(certs, plan.owner, old=old)


def container_user() -> Owner:
    """Who containers run as: the builder, who owns the keys; never root."""
    if os.getuid() == 0:
        return Owner(uid=_CONTAINER_USER, gid=_CONTAINER_USER)
    return Owner(uid=os.getuid(), gid=os.getgid())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """What a build starts from."""

    folder: OutputFolder
    graph: Graph
    user: UserRequirements
    # The numbers that the last build gave.
    lock: Lock


def _read_inputs(loaded: Loaded, out: Path) -> _Inputs:
    """Read everything before anything is decided, so that all reasons against it come at once."""
    user = read_requirements(loaded.source_root / "requirements.txt")
    problems = [*user.problems]
    with _noting(problems):
        _check_apart(out, loaded.source_root)
        folder = inspect_output(out)
    with _noting(problems):
        graph = build_graph(loaded.application, app=loaded.app_name)
    if len(problems) > len(user.problems):
        raise BuildError(problems)
    return _Inputs(folder=folder, graph=graph, user=user, lock=_read_lock(out))


def _read_lock(out: Path) -> Lock:
    path = out / LOCK
    return read_lock(path.read_text(encoding="utf-8")) if path.is_file() else {}


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except BuildError as exc:
        problems += exc.problems


def _check_apart(out: Path, source_root: Path) -> None:
    # The output folder is replaced as a whole, and it is left out of what is copied.
    if source_root.resolve().is_relative_to(out.resolve()):
        raise BuildError(
            [f"{out} holds the application's own source ({source_root}); give another folder"]
        )
