"""The generated Python client as files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from meshgen.build.client.module import ModuleText, module_text
from meshgen.build.client.naming import app_class, distribution_name, package_name
from meshgen.build.notes import NOTE
from meshgen.build.render import render
from meshgen.build.resources import resource
from meshgen.typed.deployment import TypedDeployment
from meshgen.typed.descriptors import common_files, file_descriptor

_TEMPLATES = "clients/python"


def client_files(app: str, deployments: Sequence[TypedDeployment]) -> dict[str, bytes]:
    """The client of these deployments by path below its folder; nothing if none has typed RPCs."""
    typed = [made for made in deployments if made.schema.typed_only().rpcs]
    if not typed:
        return {}
    modules = sorted((module_text(made) for made in typed), key=lambda module: module.name)
    package = _package(app, modules) | {"descriptors.binpb": _descriptors(typed), "py.typed": b""}
    values = {"distribution": distribution_name(app), "package": package_name(app), "app": app}
    project = _render("pyproject.toml", version=_version(package), **values)
    return {
        "pyproject.toml": project,
        **{f"{package_name(app)}/{name}": data for name, data in sorted(package.items())},
    }


def _package(app: str, modules: Sequence[ModuleText]) -> dict[str, bytes]:
    files = {path.name: path.read_text() for path in sorted(_static().glob("*.py"))}
    return {
        **{name: f"# {NOTE}\n{text}".encode() for name, text in files.items()},
        **{f"{module.name}.py": _render("deployment.py", module=module) for module in modules},
        "__init__.py": _render("package.py", app=app, client=app_class(app), modules=modules),
    }


def _static() -> Any:
    return resource("templates") / _TEMPLATES / "package"


def _render(name: str, **values: Any) -> bytes:
    return render(f"{_TEMPLATES}/{name}.j2", **values).encode()


def _version(package: dict[str, bytes]) -> str:
    """Another one for another client; what the service promises has none of its own."""
    digest = hashlib.sha256()
    for name, data in sorted(package.items()):
        digest.update(f"{name}\0{len(data)}\0".encode() + data)
    return f"0.1.0+h{digest.hexdigest()[:12]}"


def _descriptors(deployments: Sequence[TypedDeployment]) -> bytes:
    """The typed RPCs and what they import; members of the mesh have more in these files."""
    known = {file.name: file for file in common_files()}
    files = [file_descriptor(made.schema.typed_only()) for made in deployments]
    needed: dict[str, FileDescriptorProto] = {}
    for file in sorted(files, key=lambda file: file.name):
        for name in file.dependency:
            needed.setdefault(name, known[name])
        needed[file.name] = file
    return FileDescriptorSet(file=needed.values()).SerializeToString(deterministic=True)
