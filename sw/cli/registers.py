"""``tokamac registers``: the register map."""

import typer


def command():
    """Print the AXI4-Lite register map and the causes of a fault."""
    from hw.register_map import REGISTERS, Cause
    for register in REGISTERS:
        typer.echo(f"{register.offset:#06x}  {register.name:18s} {register.access}  {register.doc}")
    typer.echo("\ncauses")
    for cause in Cause:
        typer.echo(f"{cause.value:6d}  {cause.name.lower()}")
