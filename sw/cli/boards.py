"""``tokamac boards``: boards, and what fits them."""

from typing import Annotated

import typer


def command(
    config: Annotated[str | None, typer.Option(
        help="A preset's name, or a configuration file: say where it fits. If its size is not "
             "kept, it is synthesised, which takes minutes.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of boards.")] = False,
):
    """List the boards: their FPGA, memory and clock, which tools they need, and what fits them."""
    import json
    import os

    from rich.console import Console
    from rich.status import Status

    from fpga.boards import BOARDS
    from hw.config import load
    from sw.fit import measure, measured, rows, table

    blocks, chosen = None, load(config) if config else None
    if chosen:
        blocks = measured(chosen)
        console = Console(stderr=True, highlight=False)
        if blocks is None:
            with Status(f"{chosen}: synthesis", console=console) as status:
                blocks = measure(chosen, jobs=os.cpu_count() or 1, progress=lambda title:
                                 status.update(f"{chosen}: synthesis, {title} last"))
    found = rows(BOARDS.values(), chosen, blocks)
    typer.echo(json.dumps(found, indent=2) if as_json else table(found, chosen))
