"""``tokamac timing``: clock rate and size of one block on an ECP5."""

from typing import Annotated

import typer


def command(
    block: Annotated[str, typer.Argument(
        help="A block that `tokamac area` shows, or one of those around the machine; without one, "
             "all are listed.")] = "",
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "ulx3s",
    seed: Annotated[int, typer.Option(help="Seed of the placer.")] = 1,
    frequency: Annotated[float, typer.Option(
        min=1, help="Clock rate to aim at, in MHz.")] = 100.0,
):
    """Place and route one block by itself on an LFE5U-85F, and show its clock rate and cells.

    The block stands between registers, so that pins do not matter.
    """
    import time

    from fpga.blocks import BLOCKS
    from hw.config import load
    from hw.top import Tokamac
    from hw.verilog import convert
    from sw.area import Hierarchy
    from sw.timing import timing

    chosen = load(config)
    top = block if block in BLOCKS else "tokamac"
    made = BLOCKS[block](chosen) if block in BLOCKS else Tokamac(chosen)
    hierarchy = Hierarchy(convert(made, top), top)
    if not block:
        for title in [*sorted(map(hierarchy.title, hierarchy.blocks)), *BLOCKS]:
            typer.echo(title)
        return
    name = top if block in BLOCKS else hierarchy.find(block)
    typer.echo(f"{hierarchy.title(name)} of {chosen}: synthesis, place and route. This takes "
               "minutes; the whole machine, hours.", err=True)
    start = time.perf_counter()
    result = timing(hierarchy, name, "build/timing", frequency=frequency, seed=seed)
    seconds = time.perf_counter() - start
    typer.echo(f"clock     {result.clock:.1f} MHz (speed grade 6, seed {seed})")
    for kind, count in result.cells.items():
        typer.echo(f"{kind:<9} {count:,}")
    typer.echo(f"slowest   {result.delay:.1f} ns, from {result.start}\n"
               f"          to {result.end}")
    typer.echo(f"time      {seconds:.0f} s; files are in {result.folder}")
