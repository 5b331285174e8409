"""``tokamac area``: size of a configuration on an ECP5-85F."""

from typing import Annotated

import typer


def command(
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "ulx3s",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of rows.")] = False,
):
    """Print LUTs, flip-flops, multipliers and block RAMs of each block."""
    import json
    import re

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hw.config import load
    from hw.top import Tokamac
    from hw.verilog import convert
    from sw.area import ECP5_85F, area

    chosen = load(config)
    total, parts = area(convert(Tokamac(chosen), "tokamac"), "tokamac")
    rows = [("whole machine", 1, total)]
    # The blocks of the top, and those of the core.
    for level, module in (("", "tokamac"), ("core: ", "core")):
        rows += [(level + re.sub(r"^.*\.", "", name), count, size)
                 for name, count, size in parts[module]]
    if as_json:
        print(json.dumps([{"block": name, "instances": count, **size,
                           **{f"{kind}_share": size[kind] / most
                              for kind, most in ECP5_85F.items()}}
                          for name, count, size in rows], indent=2))
        return
    table = Table(title=f"{chosen} on an ECP5-85F", box=box.SIMPLE, title_justify="left")
    table.add_column("block")
    for kind in ECP5_85F:
        table.add_column(kind, justify="right")
        table.add_column("share", justify="right")
    for name, _, size in rows:
        cells = [text for kind, most in ECP5_85F.items()
                 for text in (f"{size[kind]:,}", f"{100 * size[kind] / most:.1f} %")]
        table.add_row(name, *cells)
    Console().print(table)
