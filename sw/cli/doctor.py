"""``tokamac doctor``: what the machine lacks, and how to install it."""

from typing import Annotated

import typer

from sw.doctor import diagnose


def command(
    fix: Annotated[bool, typer.Option("--fix", help="Install what is missing.")] = False,
):
    """Check the programs and libraries of this machine."""
    raise typer.Exit(diagnose(fix, typer.echo))
