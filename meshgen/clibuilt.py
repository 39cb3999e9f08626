"""The commands about a mesh that was built: its certificates, its state, programs that join it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshgen.clierrors import plain_errors
from meshgen.errors import OptionError

if TYPE_CHECKING:
    from meshgen.build.rotation import Holder

# cryptography is imported where certificates are read or made.

_OUT = click.argument("out", type=click.Path(path_type=Path, exists=True, file_okay=False))
# Days before its end from which on a certificate is shown in yellow.
_SOON = 30


@click.group()
def certs() -> None:
    """Issue and rotate the certificates of a built mesh.

    \b
    Examples:
      meshgen certs issue out dora --may-call Stock
      meshgen certs rotate out
    """


@certs.command()
@_OUT
@click.argument("name")
@click.option("--days", type=click.FloatRange(min=0.01), default=30.0, show_default=True)
@click.option(
    "--may-call",
    multiple=True,
    metavar="DEPLOYMENT",
    help="A deployment that it may call, '*' for all. What the gateway serves it may in any case.",
)
@click.option("--out", "folder", type=click.Path(path_type=Path), help="Folder to write.")
def issue(
    out: Path, name: str, days: float, may_call: tuple[str, ...], folder: Path | None
) -> None:
    """Issue a certificate for a program outside of the mesh in OUT, which meshgen connect uses.

    \b
    Examples:
      meshgen certs issue out dora
      meshgen certs issue out dora --may-call Stock --may-call Clerk --days 7
    """
    from meshgen.build.builtmesh import built_mesh
    from meshgen.build.certs import issue_client
    from meshgen.edges import EVERYTHING, Identity

    with plain_errors():
        mesh = built_mesh(out)
        unknown = sorted({*may_call} - mesh.deployments - {EVERYTHING})
        if unknown:
            raise OptionError(
                f"--may-call names {', '.join(unknown)}, which the mesh in {out} does not have; "
                f"it has {', '.join(sorted(mesh.deployments))}"
            )
        client = Identity(
            project=mesh.project, name=name, is_client=True, may_call=frozenset(may_call)
        )
        written = issue_client(out / "certs", client, days=days, out=folder)
    click.echo(f"{written}: good for {days:g} days")
    click.echo(f"  meshgen connect {out} --cert {written} -- python program.py")


@certs.command()
@_OUT
@click.option("--ca", is_flag=True, help="Make a new authority first; the old one is trusted on.")
@click.option("--forget-old-ca", is_flag=True, help="Afterwards, trust the present authority only.")
def rotate(out: Path, ca: bool, forget_old_ca: bool) -> None:
    """Give every service of the mesh in OUT a new certificate; it may run meanwhile.

    Services read their certificates at each new connection, and those that there are go on: no
    call is lost. With --forget-old-ca, clients need new certificates.

    \b
    Examples:
      meshgen certs rotate out
      meshgen certs rotate out --ca
      meshgen certs rotate out --forget-old-ca
    """
    from meshgen.build import rotation

    folder = out / "certs"
    with plain_errors():
        if ca:
            rotation.rotate_authority(folder)
        found = rotation.rotate_members(folder)
        if forget_old_ca:
            rotation.forget_authorities(folder)
    for holder in found:
        click.echo(f"{holder.name}: until {holder.ends:%Y-%m-%d}")


@click.command()
@_OUT
@click.option("--json", "as_json", is_flag=True, help="Print it for scripts.")
def status(out: Path, as_json: bool) -> None:
    """Show until when the certificates of the mesh in OUT are good, and what runs of it.

    Exit status 1 if one has ended.

    \b
    Examples:
      meshgen status out
      meshgen status out --json
    """
    from meshgen.build.rotation import holders
    from meshgen.deploy.containers import containers

    with plain_errors():
        found, running = holders(out / "certs"), containers(out)
    if as_json:
        ends = {each.name: each.ends.isoformat() for each in found}
        click.echo(json.dumps({"certificates": ends, "containers": running}, indent=2))
    else:
        _show(found, running)
    if any(each.days_left < 0 for each in found):
        raise click.exceptions.Exit(1)


def _show(found: list[Holder], running: dict[str, dict[str, int]] | None) -> None:
    width = max(len(each.name) for each in found)
    for each in found:
        click.echo(f"{each.name:<{width}}  {_until(each)}")
    click.echo("")
    if running is None:
        click.echo("no Docker engine answers here: containers are not shown")
    elif not running:
        click.echo("no containers: docker compose up -d --wait starts them")
    for service, states in (running or {}).items():
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        click.echo(f"{service:<{width}}  {counts}")


def _until(holder: Holder) -> str:
    left = holder.days_left
    if left < 0:
        return click.style(f"ended {holder.ends:%Y-%m-%d}", fg="red", bold=True)
    text = f"until {holder.ends:%Y-%m-%d}, {left:.0f} days"
    return click.style(text, fg="yellow") if left < _SOON else text


@click.command(context_settings={"ignore_unknown_options": True})
@_OUT
@click.option(
    "--cert",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder that meshgen certs issue has written.",
)
@click.option(
    "--resolver",
    help="How replicas are found: compose:PROJECT/{service}:50051, which asks Docker on this "
    "machine and is the default, or dns:{service}:50051 inside of the mesh's network.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def connect(out: Path, cert: Path, resolver: str | None, command: tuple[str, ...]) -> None:
    """Run a program that calls the mesh in OUT by handles, as its own services do.

    In it, serve.get_app_handle(name) and serve.get_deployment_handle(name, app) lead to the mesh.

    \b
    Examples:
      meshgen connect out --cert out/certs/clients/dora -- python program.py
      meshgen connect out --cert dora --resolver 'dns:{service}:50051' -- python program.py
    """
    from meshgen.build.builtmesh import built_mesh
    from meshgen.connection import environment
    from meshgen.deploy.containers import running_project

    with plain_errors():
        built_mesh(out)
        template = resolver or f"compose:{running_project(out)}/{{service}}:50051"
        variables = environment(out / "mesh.json", cert, template)
        try:
            os.execvpe(command[0], command, {**os.environ, **variables})
        except OSError as exc:
            raise OptionError(
                f"{command[0]} cannot be run: {exc.strerror}; give a program and its arguments "
                "after --"
            ) from exc
