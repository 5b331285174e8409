"""``tokamac flash``: load a bitstream into a board."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    board: Annotated[str, typer.Option(
        help="A board; `tokamac boards` lists them.")] = "ulx3s",
    bitstream: Annotated[Path | None, typer.Option(
        help="The bitstream; by default what `tokamac bitstream` made for the board.")] = None,
    config: Annotated[str | None, typer.Option(
        help="A preset's name, or a configuration file: refuse a bitstream of another.")] = None,
    check: Annotated[bool, typer.Option(
        "--check", help="Load the small design of `tokamac bitstream --check`.")] = False,
    permanent: Annotated[bool | None, typer.Option(
        "--permanent/--sram", help="Write it to the flash memory from which the FPGA starts, or "
                                   "load it until the power goes, which is the default.")] = None,
):
    """Load a bitstream into a board's FPGA."""
    import fpga.boards
    from sw.flash import Bitstream, flash

    chosen = fpga.boards.board(board)
    found = Bitstream.find(chosen, bitstream, check=check)
    found.refuse(chosen, config)
    typer.echo(f"{chosen.title}: {found}")
    if found.about.get("met") is False:
        typer.echo("Note: its clock is too fast for it by its timing report; it may compute wrong "
                   "results.")
    try:
        lasting = flash(chosen, found.path, permanent=permanent,
                        show=lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\ninterrupted: the FPGA is not loaded. If its flash memory was being written, "
                   "write it again before the power goes: "
                   f"tokamac flash --board {board} --permanent", err=True)
        raise typer.Exit(130) from None
    typer.echo("Done: the board starts with it from now on." if lasting else
               "Done: it stays until the power goes.")
