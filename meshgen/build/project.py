"""`meshgen build`: from a loaded application to a folder that runs as a mesh."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from meshgen import __version__
from meshgen.build.certs import Owner, write_certificates
from meshgen.build.descriptors import compile_descriptors
from meshgen.build.loader import Loaded
from meshgen.build.output import (
    MANIFEST,
    Content,
    OutputFolder,
    check_replaceable,
    digest_of,
    inspect_output,
    replace_output,
)
from meshgen.build.picture import mermaid
from meshgen.build.plan import Plan, make_plan
from meshgen.build.render import Renderer, dockerfile, proto_text, requirements_text
from meshgen.build.requirements import UserRequirements, read_requirements
from meshgen.build.resources import resource
from meshgen.build.source import source_files
from meshgen.build.wheel import NAME as WHEEL
from meshgen.build.wheel import wheel_bytes
from meshgen.errors import BuildError
from meshgen.graph import Graph, build_graph
from meshgen.spec import MeshSpec, app_spec, mesh_json, service_files, service_specs, to_json
from meshgen.tasks.service import task_graph, uses_tasks

# Who containers run as where the builder is root, as images must not run as root.
_CONTAINER_USER = 10001

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build wrote, and where."""

    out: Path
    plan: Plan
    build_id: str
    files: int

    def summary(self) -> dict[str, Any]:
        """As JSON for scripts."""
        return {
            "out": str(self.out),
            "application": self.plan.app,
            "build_id": self.build_id,
            "files": self.files,
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
    progress: Progress = lambda step: None,
) -> Built:
    """Write the mesh of an application to a folder, all or nothing.

    With the task service if the application declares tasks, or with `tasks`.

    Raises:
        BuildError: It cannot be built, or the folder holds something else; lists every reason.
    """
    progress("planning")
    inputs = _read_inputs(loaded, out.resolve())
    sources = source_files(loaded.source_root, without=[inputs.folder.path])
    companions = [task_graph()] if tasks or uses_tasks(inputs.graph) else []
    plan = make_plan(
        inputs.graph,
        source_root=loaded.source_root,
        sources=sources,
        user=inputs.user,
        owner=container_user(),
        ray_compat=loaded.ray_compat,
        companions=companions,
    )
    progress("generating protos, images and services")
    files, build_id = _all_files([*companions, inputs.graph], plan, sources)
    folder = inputs.folder
    if not force:
        check_replaceable(folder, files)
    progress(f"writing {len(files)} files to {out}")
    replace_output(
        folder,
        files,
        lambda certs: write_certificates(certs, plan.identities, plan.owner, old=folder.certs),
    )
    return Built(out=out, plan=plan, build_id=build_id, files=len(files))


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
    return _Inputs(folder=folder, graph=graph, user=user)


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


def _all_files(
    graphs: Sequence[Graph], plan: Plan, sources: Mapping[str, Path]
) -> tuple[dict[str, Content], str]:
    """Every generated file but certificates, and the id of what goes into the images.

    The last graph is the application's.
    """
    graph = graphs[-1]
    helpers = {each.app: app_spec(each, None) for each in graphs[:-1]}
    applications = mesh_json(MeshSpec(apps={graph.app: app_spec(graph, "/"), **helpers}))
    content = _image_files(graphs, plan, sources)
    build_id = _build_id(content, to_json(applications))
    rendered = Renderer(plan=plan, build_id=build_id, mermaid=mermaid(graph)).files()
    content |= {name: text.encode() for name, text in rendered.items()}
    content |= _proto_files(plan)
    content = dict(sorted(content.items()))
    manifest = applications | {"meshgen": _manifest(build_id, content)}
    return content | {MANIFEST: to_json(manifest)}, build_id


def _image_files(
    graphs: Sequence[Graph], plan: Plan, sources: Mapping[str, Path]
) -> dict[str, Content]:
    files: dict[str, Content] = {f"app/{name}": path for name, path in sources.items()}
    files[f"vendor/{WHEEL}"] = wheel_bytes()
    files["images/probe.py"] = (resource("docker") / "probe.py").read_bytes()
    for environment in plan.environments:
        place = f"images/{environment.name}"
        files[f"{place}/Dockerfile"] = dockerfile(environment).encode()
        files[f"{place}/requirements.txt"] = requirements_text(environment).encode()
    specs = [spec for graph in graphs for spec in service_specs(graph)]
    for spec, service in zip(specs, plan.services, strict=True):
        place = f"services/{service.name}"
        files[f"{place}/requirements.txt"] = requirements_text(service.environment).encode()
        files |= {f"{place}/{name}": data for name, data in service_files(spec).items()}
    return files


def _proto_files(plan: Plan) -> dict[str, Content]:
    mesh = "meshgen/v1/mesh.proto"
    protos = {service.proto.path: proto_text(service).encode() for service in plan.services}
    protos[mesh] = (resource("protos") / mesh).read_bytes()
    files: dict[str, Content] = {f"protos/{name}": text for name, text in protos.items()}
    files["protos/descriptors.binpb"] = compile_descriptors(protos)
    return files


def _build_id(content: Mapping[str, Content], applications: bytes) -> str:
    """Changes exactly when an image would, so that `docker compose up` builds what is new."""
    digest = hashlib.sha256(applications)
    for name, data in sorted(content.items()):
        digest.update(f"{name}\0{digest_of(data)}\0".encode())
    return digest.hexdigest()[:12]


def _manifest(build_id: str, content: Mapping[str, Content]) -> dict[str, Any]:
    return {
        "version": __version__,
        "build_id": build_id,
        "python": platform.python_version(),
        "grpcio": metadata.version("grpcio"),
        "protobuf": metadata.version("protobuf"),
        "files": {name: digest_of(data) for name, data in content.items()},
    }
