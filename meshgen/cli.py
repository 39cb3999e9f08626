"""The `meshgen` command: each subcommand parses, calls one function, prints and exits."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshgen import __version__
from meshgen.build.importing import locate
from meshgen.build.loader import load_target, parse_arguments
from meshgen.clibuilt import certs, connect, status
from meshgen.cliedge import edge_options, token_advice
from meshgen.clierrors import plain_errors
from meshgen.compat import VARIABLE as RAY_COMPAT
from meshgen.graph import Graph, build_graph

if TYPE_CHECKING:
    from meshgen.build.project import Built
    from meshgen.deploy.local import LocalMesh

# What only one command needs is imported in there: jinja2 and cryptography would double the time
# that `meshgen run` takes to get going.

_ray_compat = click.option(
    "--ray-compat",
    is_flag=True,
    envvar=RAY_COMPAT,
    help="TARGET is source for Ray: answer its imports of `ray` with meshgen.",
)


_tasks = click.option(
    "--tasks",
    is_flag=True,
    help="Have a task service for meshgen.remote, although none is declared at import.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="meshgen")
def main() -> None:
    """Turn a composed Python application into a gRPC microservice mesh.

    TARGET is module:attribute or path/to/file.py:attribute, and the attribute what
    Deployment.bind() returned, or a function that builds it from NAME=VALUE arguments.
    """


for command in (certs, connect, status):
    main.add_command(command)


@main.command()
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="Folder to write."
)
@click.option("--name", default="", help="Name of the application; the module's by default.")
@_ray_compat
@_tasks
@click.option("--force", is_flag=True, help="Overwrite generated files that were edited by hand.")
@click.option(
    "--check-breaking",
    is_flag=True,
    help="Write nothing, and exit with 1, if clients of what is in the folder would break.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a summary for scripts.")
def build(  # noqa: PLR0913 - one for each option
    target: str,
    arguments: tuple[str, ...],
    out: Path,
    name: str,
    ray_compat: bool,
    tasks: bool,
    force: bool,
    check_breaking: bool,
    as_json: bool,
) -> None:
    """Write the mesh of TARGET to a folder: protos, images, certificates and compose.yaml.

    \b
    Examples:
      meshgen build app.py:app -o out
      meshgen build package.module:build_app size=large -o out --name shop
    """
    from meshgen.build.project import build_project

    with plain_errors():
        _progress(f"loading {target}")
        loaded = load_target(target, parse_arguments(arguments), name=name, ray_compat=ray_compat)
        built = build_project(
            loaded,
            out,
            force=force,
            tasks=tasks,
            keep_clients=check_breaking,
            progress=_progress,
        )
    if as_json:
        click.echo(json.dumps(built.summary(), indent=2))
        return
    click.echo(_summary(built))
    for warning in built.warnings:
        click.echo(f"{click.style('warning:', fg='yellow', bold=True)} {warning}", err=True)


@main.command()
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to serve.")
@click.option("--port", default=8000, show_default=True, help="HTTP port; 0 for any free one.")
@click.option(
    "--grpc-port",
    type=int,
    default=None,
    help="gRPC port; 9000 by default, and any free one with --port 0.",
)
@click.option("--route-prefix", default="/", show_default=True, help="Path of the application.")
@click.option("--name", default="", help="Name of the application; the module's by default.")
@edge_options
@_ray_compat
@_tasks
@click.option("--reload", is_flag=True, help="Start anew when a source file changes.")
def run(  # noqa: PLR0913 - one for each option
    target: str,
    arguments: tuple[str, ...],
    host: str,
    port: int,
    grpc_port: int | None,
    route_prefix: str,
    name: str,
    ray_compat: bool,
    tasks: bool,
    reload: bool,
    edge: dict[str, Any],
) -> None:
    """Run the mesh of TARGET as local processes, and serve its ingress over HTTP and gRPC.

    Ctrl-C stops it once the running requests have ended; a second Ctrl-C stops it at once.

    \b
    Examples:
      meshgen run app.py:app
      meshgen run package.module:build_app size=large --port 8080
      meshgen run app.py:app --reload
      meshgen run --ray-compat app.py:app
    """
    from meshgen.deploy.edgefiles import check_edge
    from meshgen.deploy.foreground import run_in_foreground
    from meshgen.deploy.reload import run_with_reload
    from meshgen.runtime.process import follow_supervisor
    from meshgen.serve.config import EdgeOptions, GRPCOptions, HTTPOptions

    follow_supervisor(int(os.environ.pop("MESHGEN_LIFELINE_FD", "-1")))
    with plain_errors():
        guard = EdgeOptions(**edge)
        check_edge(guard)
        if reload:
            again = [argument for argument in sys.argv[1:] if argument != "--reload"]
            folder = locate(target.partition(":")[0]).root
            asyncio.run(run_with_reload(again, folder, _progress))
            return
        loaded = load_target(target, parse_arguments(arguments), name=name, ray_compat=ray_compat)
        graph = build_graph(loaded.application, app=loaded.app_name)
        http = HTTPOptions(host=host, port=port)
        if grpc_port is None:
            grpc_port = 9000 if port else 0
        grpc = GRPCOptions(host=host, port=grpc_port)
        ready = partial(_ready, graph)
        running = run_in_foreground(
            graph, http, route_prefix, ready, grpc=grpc, edge=guard, tasks=tasks
        )
        asyncio.run(running)


def _ready(graph: Graph, mesh: LocalMesh) -> None:
    replicas = sum(node.application.deployment.num_replicas for node in graph.nodes)
    services = ", ".join(node.stub.service for node in graph.nodes)
    click.echo(f"{graph.app} runs: {services} ({replicas} replicas)")
    if (advice := token_advice(mesh)) is not None:
        click.echo(advice)
    click.echo(f"gRPC on {mesh.grpc_address}")
    click.echo(f"HTTP on {mesh.http_address} · Ctrl-C stops it")
    sys.stdout.flush()


@main.command()
@click.argument("target")
@click.argument("arguments", nargs=-1, metavar="[NAME=VALUE]...")
@click.option(
    "--format",
    "as_format",
    type=click.Choice(["text", "mermaid", "json"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@click.option("--svg", "svg_file", type=click.Path(path_type=Path), help="Draw it to this file.")
@click.option("--name", default="", help="Name of the application; the module's by default.")
@_ray_compat
def graph(
    target: str,
    arguments: tuple[str, ...],
    as_format: str,
    svg_file: Path | None,
    name: str,
    ray_compat: bool,
) -> None:
    """Show the services of TARGET, who calls whom, and how many replicas run.

    \b
    Examples:
      meshgen graph app.py:app
      meshgen graph app.py:app --format mermaid
      meshgen graph app.py:app --svg graph.svg
    """
    from meshgen.build import picture, svg

    with plain_errors():
        loaded = load_target(target, parse_arguments(arguments), name=name, ray_compat=ray_compat)
        found = build_graph(loaded.application, app=loaded.app_name)
        if svg_file is not None:
            svg_file.write_text(svg.draw(found), encoding="utf-8")
    if as_format == "json":
        click.echo(json.dumps(picture.document(found), indent=2))
    else:
        click.echo(picture.mermaid(found) if as_format == "mermaid" else picture.text(found))


def _progress(step: str) -> None:
    if sys.stderr.isatty():
        click.secho(f"  {step} …", err=True, dim=True)


def _summary(built: Built) -> str:
    plan = built.plan
    width = max(len(service.name) for service in plan.services)
    services = [
        f"  {service.name:<{width}}  ×{service.replicas.default}" for service in plan.services
    ]
    return "\n".join(
        [
            click.style(f"{plan.app}: {built.files} files in {built.out}", bold=True),
            *services,
            "",
            "Next:",
            f"  cd {built.out}",
            "  docker compose up -d --wait",
            "  curl localhost:8000",
            *_untyped(built),
        ]
    )


def _untyped(built: Built) -> list[str]:
    """The methods without a typed RPC: nothing is wrong with them."""
    contract = built.contract
    if not contract.untyped:
        return []
    methods = "1 method has" if contract.untyped == 1 else f"{contract.untyped} methods have"
    head = f"{methods} no typed RPC, and only handles and HTTP reach what has none:"
    return ["", head, *(f"  {problem}" for problem in contract.problems)]
