"""Everything that is in an output folder, but for certificates."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from meshgen import __version__
from meshgen.build.client.naming import app_class
from meshgen.build.client.package import client_files
from meshgen.build.contract import ROUTE, Contract
from meshgen.build.handles import handle_files
from meshgen.build.lookups import with_lookups
from meshgen.build.output import MANIFEST, Content, digest_of
from meshgen.build.picture import mermaid
from meshgen.build.plan import Plan
from meshgen.build.render import Renderer, dockerfile, requirements_text
from meshgen.build.resources import resource
from meshgen.build.wheel import NAME as WHEEL
from meshgen.build.wheel import wheel_bytes
from meshgen.graph import Graph
from meshgen.spec import MeshSpec, app_spec, service_specs
from meshgen.specfiles import DESCRIPTORS, LOCK, mesh_descriptors, mesh_json, service_files, to_json
from meshgen.typed.published import published, with_hints


def all_files(
    graphs: Sequence[Graph], plan: Plan, contract: Contract, sources: Mapping[str, Path]
) -> tuple[dict[str, Content], str]:
    """Every generated file but certificates, and the id of what goes into the images.

    The last graph is the application's.
    """
    graph = graphs[-1]
    helpers = {each.app: app_spec(each, None) for each in graphs[:-1]}
    app = published(with_lookups(app_spec(graph, ROUTE), graph), contract.exposed)
    mesh = MeshSpec(apps={graph.app: app, **helpers})
    applications = mesh_json(mesh)
    content = _image_files(graphs, plan, contract, sources)
    # In images, too: replicas number as the .proto files do, and the gateway serves them.
    content |= {LOCK: contract.lock_file(), DESCRIPTORS: mesh_descriptors(mesh)}
    build_id = _build_id(content, to_json(applications))
    clients = client_files(graph.app, [*contract.exposed.values()])
    rendered = Renderer(
        plan=plan,
        build_id=build_id,
        mermaid=mermaid(graph),
        client=app_class(graph.app) if clients else "",
        exposed=[service.name for service in app.typed.values()],
    ).files()
    content |= {name: text.encode() for name, text in rendered.items()}
    content |= {f"protos/{name}": data for name, data in contract.proto_files().items()}
    content |= {f"clients/python/{name}": data for name, data in clients.items()}
    content |= {f"handles/{name}": data for name, data in handle_files(graph).items()}
    content = dict(sorted(content.items()))
    manifest = applications | {"meshgen": _manifest(build_id, content)}
    return content | {MANIFEST: to_json(manifest)}, build_id


def _image_files(
    graphs: Sequence[Graph], plan: Plan, contract: Contract, sources: Mapping[str, Path]
) -> dict[str, Content]:
    files: dict[str, Content] = {f"app/{name}": path for name, path in sources.items()}
    files[f"vendor/{WHEEL}"] = wheel_bytes()
    files["images/probe.py"] = (resource("docker") / "probe.py").read_bytes()
    for environment in plan.environments:
        place = f"images/{environment.name}"
        files[f"{place}/Dockerfile"] = dockerfile(environment).encode()
        files[f"{place}/requirements.txt"] = requirements_text(environment).encode()
    specs = [spec for graph in graphs[:-1] for spec in service_specs(graph)]
    specs += with_hints(service_specs(graphs[-1]), contract.deployments)
    for spec, service in zip(specs, plan.services, strict=True):
        place = f"services/{service.name}"
        files[f"{place}/requirements.txt"] = requirements_text(service.environment).encode()
        files |= {f"{place}/{name}": data for name, data in service_files(spec).items()}
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
