"""``tokamac timing``: clock rate and size of one block on an ECP5."""

from typing import Annotated

import typer


def command(
    block: Annotated[str, typer.Argument(help="A block that `tokamac sim` lists.")],
    config: Annotated[str, typer.Option(
        help="One of its bench's configurations; the first if not given.")] = "",
    frequency: Annotated[float, typer.Option(help="Clock rate to aim at, in MHz.")] = 50.0,
):
    """Place and route one block by itself on an LFE5U-85F, and show its clock rate and cells."""
    from pathlib import Path

    from hw.verilog import convert
    from sw.errors import UserError
    from sw.synthesis import place_and_route, synthesise
    from verif.blocks import blocks, cases

    if block not in blocks():
        raise UserError(f"there is no block {block!r}; there are {', '.join(blocks())}")
    found = {case.label: case for case in cases(block)}
    label = config or next(iter(found))
    if label not in found:
        raise UserError(f"{block} has no configuration {label!r}; it has {', '.join(found)}")
    folder = Path("build") / "timing" / f"{block}-{label}"
    netlist = synthesise(convert(found[label].component(), block), block, folder)
    report = place_and_route(netlist, frequency=frequency)
    for kind, cells in report["utilization"].items():
        if cells["used"]:
            typer.echo(f"{kind:<16} {cells['used']:8d} of {cells['available']}")
    for clock in report["fmax"].values():
        typer.echo(f"{'clock':<16} {clock['achieved']:8.1f} MHz")
    typer.echo(f"logs in {folder}")
