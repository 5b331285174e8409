"""``tokamac area``: size of a machine on an ECP5-85F."""

from typing import Annotated

import typer


def command(
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "ulx3s",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of rows.")] = False,
    jobs: Annotated[int, typer.Option(
        min=1, help="Yosys processes at a time; as many as processors if not given.")] = None,
):
    """Print lookup tables, flip-flops, multipliers and block RAMs of each block.

    A row has all instances of its block, and everything below it.
    """
    import json
    import os

    from rich.console import Console
    from rich.status import Status

    from hw.config import load
    from hw.top import Tokamac
    from hw.verilog import convert
    from sw.area import ECP5_85F, Hierarchy, area

    chosen = load(config)
    console = Console(stderr=True, highlight=False)
    with Status(f"{chosen}: writing Verilog", console=console) as status:
        verilog = convert(Tokamac(chosen), "tokamac")
        total = len(Hierarchy(verilog, "tokamac").blocks)
        done = []

        def progress(title):
            done.append(title)
            status.update(f"{chosen}: {len(done)} of {total} blocks synthesised, {title} last")

        rows = area(verilog, "tokamac", "build/area", jobs=jobs or os.cpu_count() or 1,
                    progress=progress)
    if as_json:
        print(json.dumps([{"block": row.name, "depth": row.depth, "instances": row.instances,
                           **row.cells, **{f"{kind}_share": row.cells[kind] / most
                                           for kind, most in ECP5_85F.items()}}
                          for row in rows], indent=2))
        return
    names = ["  " * row.depth + (f"{row.instances} x " if row.instances > 1 else "")
             + row.name.rsplit(".", 1)[-1] for row in rows]
    width = max(map(len, names))
    print(f"{chosen} on an ECP5-85F\n")
    print(f"{'block':{width}}" + "".join(f"{kind:>8}{'':8}" for kind in ECP5_85F).rstrip())
    for name, row in zip(names, rows, strict=True):
        print(f"{name:{width}}" + "".join(
            f"{row.cells[kind]:8,} {100 * row.cells[kind] / most:5.1f} %"
            for kind, most in ECP5_85F.items()))
