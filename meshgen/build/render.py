"""Turn a plan into text: the one place that knows Jinja."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from meshgen.build.notes import NOTE
from meshgen.build.plan import Environment, Plan, ServicePlan
from meshgen.build.resources import resource
from meshgen.build.wheel import NAME as WHEEL
from meshgen.compat import VARIABLE as RAY_COMPAT
from meshgen.edges import GATEWAY
from meshgen.settings import variable

_SECRET_FILES = (("cert", "cert.pem"), ("key", "key.pem"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Renders the files of one plan. `build_id` tags the images; `mermaid` is the picture.

    `client` is the class of the Python client, if there is one, and `exposed` has the gRPC services
    that the gateway serves.
    """

    plan: Plan
    build_id: str
    mermaid: str
    client: str = ""
    exposed: Sequence[str] = ()

    def files(self) -> dict[str, str]:
        """Every rendered file that does not go into an image, by path."""
        plan = self.plan
        compose = "targets/compose"
        files = {
            "README.md": self._render(
                "README.md.j2", mermaid=self.mermaid, client=self.client, exposed=self.exposed
            ),
            "compose.yaml": self._compose(),
            "compose.tls.yaml": self._render(f"{compose}/compose.tls.yaml.j2"),
            ".env.example": self._render(f"{compose}/env.example.j2"),
            ".dockerignore": self._render(f"{compose}/dockerignore.j2"),
            ".gitignore": self._render(f"{compose}/gitignore.j2"),
            "buf.yaml": self._render("buf.yaml.j2"),
            "buf.gen.yaml": self._render("buf.gen.yaml.j2"),
        }
        if plan.gpu_services:
            files["compose.gpu.yaml"] = self._render(f"{compose}/compose.gpu.yaml.j2")
        return files

    def _compose(self) -> str:
        plan = self.plan
        return self._render(
            "targets/compose/compose.yaml.j2",
            common=_common_environment(plan),
            environments={
                **{service.name: _service_environment(service) for service in plan.services},
                GATEWAY: _gateway_environment(),
            },
            secrets=_secrets,
            ref=lambda name: plan.variable(name).reference,
        )

    def _render(self, template: str, **values: Any) -> str:
        return render(template, plan=self.plan, build_id=self.build_id, **values)


def dockerfile(environment: Environment) -> str:
    """The Dockerfile of one environment."""
    return render("targets/compose/Dockerfile.j2", environment=environment, wheel=WHEEL)


def requirements_text(environment: Environment) -> str:
    """The requirements.txt of one environment."""
    return "\n".join([f"# {NOTE}", *environment.requirements, ""])


def _common_environment(plan: Plan) -> dict[str, str]:
    compat = {RAY_COMPAT: "1"} if plan.ray_compat else {}
    return {
        "PYTHONPATH": "/mesh/app",
        variable("mesh_file"): "/mesh/mesh.json",
        variable("resolver"): "dns:{service}:50051",
        variable("certs"): "/run/secrets",
    } | compat


def _service_environment(service: ServicePlan) -> dict[str, str]:
    own = {
        variable("service_dir"): f"/mesh/services/{service.name}",
        variable("listen"): "0.0.0.0:50051",
        variable("health"): "127.0.0.1:50052",
        # For a Prometheus on the mesh's own network; no port is published.
        variable("metrics"): "0.0.0.0:9464",
    }
    if service.working_dir != "/mesh/app":
        own["PYTHONPATH"] = f"{service.working_dir}:/mesh/app"
    return own | dict(sorted(service.env_vars.items()))


def _gateway_environment() -> dict[str, str]:
    return {
        variable("auth_token_file"): "/run/secrets/tokens",
        variable("http_host"): "0.0.0.0",
        variable("http_port"): "8000",
        variable("grpc_host"): "0.0.0.0",
        variable("grpc_port"): "9000",
    }


def _secrets(service: str) -> str:
    """The files below /run/secrets: the mesh's CA, its own certificate and key, tokens."""
    own = ", ".join(f"{{source: {service}-{kind}, target: {file}}}" for kind, file in _SECRET_FILES)
    if service == GATEWAY:
        own += ", {source: gateway-tokens, target: tokens}"
    return f"[{{source: mesh-ca, target: ca.pem}}, {own}]"


def render(template: str, **values: Any) -> str:
    """A template filled with these values and the note that all generated files have."""
    return _templates().get_template(template).render(note=NOTE, **values)


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # none of this is HTML
    )
    environment.filters["yaml"] = _yaml
    return environment


def _yaml(value: str | Mapping[str, str]) -> str:
    """A scalar that YAML reads back as it is, and in which Compose substitutes nothing."""
    return json.dumps(value, ensure_ascii=False).replace("$", "$$")
