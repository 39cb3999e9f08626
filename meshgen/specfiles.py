"""The files by which services are told: `service.json` for one of them, `mesh.json` for all.

A built mesh holds these files and a local one does too, so that both run the same code:

    mesh.json                            applications, their routes, ingresses and stubs
    descriptors.binpb                    the .proto files of what the gateway serves over gRPC
    services/<service>/service.json      what to construct, and how to run it
    services/<service>/args.pkl          constructor arguments that JSON cannot hold
    services/<service>/target.pkl        a class or function that cannot be imported
    services/<service>/typed.pkl         what its hints say, as these stay behind
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meshgen.arguments import Arguments
from meshgen.errors import OptionError
from meshgen.serve.options import ActorOptions, DeploymentOptions
from meshgen.spec import AppSpec, MeshSpec, ServiceSpec, Target, TypedService
from meshgen.stub import DeploymentStub, MethodStub, Parameter
from meshgen.types import DeploymentID

# The files beside mesh.json: of the messages, and of their numbers.
DESCRIPTORS = "descriptors.binpb"
LOCK = "meshgen.lock.json"


def write_service(spec: ServiceSpec, folder: Path) -> None:
    """Write `service.json` and the pickles it needs into an existing folder."""
    for name, content in service_files(spec).items():
        (folder / name).write_bytes(content)


def service_files(spec: ServiceSpec) -> dict[str, bytes]:
    """The files of one service by name."""
    document = {
        "deployment": spec.stub.id.name,
        "application": spec.stub.id.app,
        "stub": _stub_json(spec.stub),
        "target": spec.target.path,
        "arguments": None if spec.arguments.json is None else json.loads(spec.arguments.json),
        "options": asdict(spec.options),
        "callees": [callee.name for callee in spec.callees],
    }
    files = {"service.json": to_json(document)}
    if spec.arguments.pickle is not None:
        files["args.pkl"] = spec.arguments.pickle
    if spec.target.pickle is not None:
        files["target.pkl"] = spec.target.pickle
    if spec.typed is not None:
        files["typed.pkl"] = spec.typed
    return files


def read_service(folder: Path) -> ServiceSpec:
    """Read back what `write_service` wrote."""
    document = json.loads((folder / "service.json").read_bytes())
    app = document["application"]
    options = dict(document["options"])
    actor = dict(options.pop("actor"))
    actor["pip"] = tuple(actor["pip"])
    options["may_call"] = tuple(options["may_call"])
    arguments = document["arguments"]
    return ServiceSpec(
        stub=_read_stub(app, document["deployment"], document["stub"]),
        target=Target(path=document["target"])
        if document["target"]
        else Target(pickle=(folder / "target.pkl").read_bytes()),
        arguments=Arguments(pickle=(folder / "args.pkl").read_bytes())
        if arguments is None
        else Arguments(json=json.dumps(arguments)),
        options=DeploymentOptions(actor=ActorOptions(**actor), **options),
        callees=tuple(DeploymentID(app, name) for name in document["callees"]),
        typed=(folder / "typed.pkl").read_bytes() if (folder / "typed.pkl").exists() else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserConfig:
    """A `user_config`, and the edition of the `service.json` that it is from."""

    value: Any
    edition: str


def edition_of(service_json: bytes) -> str:
    """What tells a `service.json` from others of the same service."""
    return hashlib.sha256(service_json).hexdigest()[:16]


def read_user_config(folder: Path) -> UserConfig:
    """The `user_config` of a service, as it is there by now.

    Raises:
        OptionError: The file cannot be read.
    """
    path = folder / "service.json"
    try:
        content = path.read_bytes()
        value = json.loads(content)["options"]["user_config"]
        return UserConfig(value=value, edition=edition_of(content))
    except (OSError, ValueError, LookupError, TypeError) as exc:
        raise OptionError(f"no user_config can be read from {path}: {exc!r}") from exc


def mesh_json(mesh: MeshSpec) -> dict[str, Any]:
    """The `applications` of `mesh.json`."""
    return {
        "applications": {
            app.name: {
                "ingress": app.ingress,
                "route_prefix": app.route_prefix,
                "deployments": {name: _stub_json(stub) for name, stub in app.stubs.items()},
                "edges": {name: list(callees) for name, callees in app.edges.items()},
                "typed": {name: asdict(service) for name, service in app.typed.items()},
            }
            for app in mesh.apps.values()
        }
    }


def mesh_descriptors(mesh: MeshSpec) -> bytes:
    """The content of `descriptors.binpb`, which is beside `mesh.json`; empty for no such file."""
    # Serialized messages one after the other are one message with the fields of all.
    return b"".join(app.descriptors for app in mesh.apps.values())


def write_mesh(mesh: MeshSpec, path: Path) -> None:
    """Write `mesh.json`, and before it what belongs to it; no reader sees half of a file."""
    descriptors = mesh_descriptors(mesh)
    if descriptors:
        _write(path.with_name(DESCRIPTORS), descriptors)
    _write(path, to_json(mesh_json(mesh)))
    if not descriptors:
        path.with_name(DESCRIPTORS).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(content)
    os.replace(new, path)


def read_mesh(path: Path) -> MeshSpec:
    """Read `mesh.json`; what it holds beside the applications is for the generator."""
    document = json.loads(path.read_bytes())
    return MeshSpec(
        apps={
            name: AppSpec(
                name=name,
                ingress=app["ingress"],
                route_prefix=app["route_prefix"],
                stubs={
                    deployment: _read_stub(name, deployment, stub)
                    for deployment, stub in app["deployments"].items()
                },
                edges={each: tuple(callees) for each, callees in app["edges"].items()},
                typed={each: TypedService(**found) for each, found in app["typed"].items()},
            )
            for name, app in document["applications"].items()
        }
    )


def to_json(document: Any) -> bytes:
    """JSON as meshgen writes it: indented, in the given order, with a final newline."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _stub_json(stub: DeploymentStub) -> dict[str, Any]:
    return {
        "service": stub.service,
        "is_function": stub.is_function,
        "open_ended": stub.open_ended,
        "max_queued_requests": stub.max_queued_requests,
        "methods": methods_json(stub),
    }


def methods_json(stub: DeploymentStub) -> dict[str, Any]:
    """A deployment's methods as `mesh.json` has them."""
    return {
        method.name: {
            "streams": method.streams,
            "parameters": None
            if method.parameters is None
            else [asdict(parameter) for parameter in method.parameters],
            **_policy_json(method),
        }
        for method in stub.methods.values()
    }


def _policy_json(method: MethodStub) -> dict[str, Any]:
    """What may be done for a method's calls; nothing where it says nothing."""
    policy = {"idempotent": method.idempotent, "hedge_after_s": method.hedge_after_s}
    return {name: value for name, value in policy.items() if value}


def _read_stub(app: str, name: str, document: Mapping[str, Any]) -> DeploymentStub:
    return DeploymentStub(
        id=DeploymentID(app, name),
        service=document["service"],
        is_function=document["is_function"],
        open_ended=document["open_ended"],
        max_queued_requests=document["max_queued_requests"],
        methods={
            method: MethodStub(
                name=method,
                streams=found["streams"],
                parameters=None
                if found["parameters"] is None
                else tuple(Parameter(**parameter) for parameter in found["parameters"]),
                idempotent=found.get("idempotent", False),
                hedge_after_s=found.get("hedge_after_s"),
            )
            for method, found in document["methods"].items()
        },
    )
