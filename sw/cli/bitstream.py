"""``tokamac bitstream``: what a board's FPGA is loaded with."""

from pathlib import Path
from typing import Annotated

import typer


def command(
    board: Annotated[str, typer.Option(
        help="A board; docs/boards.md has their table.")] = "ulx3s",
    config: Annotated[str | None, typer.Option(
        help="A preset's name, or a configuration file; by default the board's.")] = None,
    check: Annotated[bool, typer.Option(
        "--check", help="Build the small design without a machine, with which "
                        "`tokamac check-board` tests cable and memory.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the placer.")] = 1,
    clock: Annotated[float | None, typer.Option(
        min=1, help="Clock rate of the system in MHz; by default the board's.")] = None,
    baud: Annotated[int | None, typer.Option(
        min=300, help="Rate of the serial line; by default the board's.")] = None,
    allow_slow: Annotated[bool, typer.Option(
        "--allow-slow", help="Make the bitstream even if timing is not met.")] = False,
    output: Annotated[Path | None, typer.Option(
        help="Directory to write to; by default build/BOARD, or build/BOARD-check.")] = None,
):
    """Synthesise, place and route a system for a board, and write its bitstream."""
    from dataclasses import replace

    from rich.console import Console
    from rich.status import Status

    import fpga.boards
    from hw.config import load
    from sw.bitstream import Job
    from sw.errors import UserError

    chosen = fpga.boards.board(board)
    if check and config is not None:
        raise UserError("--check builds a design without a machine, so it takes no --config")
    machine = None if check else load(config or chosen.preset)
    chosen = replace(chosen, core_hz=round(clock * 1e6) if clock else chosen.core_hz,
                     baud=baud or chosen.baud)
    folder = output or Path("build") / (f"{board}-check" if check else board)
    typer.echo(f"{chosen.title} ({chosen.device}), "
               f"{machine or 'check design'}, {chosen.core_hz / 1e6:g} MHz, seed {seed}")
    console = Console(stderr=True, highlight=False)
    with Status("", console=console) as status:
        Job(chosen, machine, folder, seed=seed, allow_slow=allow_slow, say=typer.echo,
            status=status.update).run()
    if chosen.note:
        typer.echo(f"Note: {chosen.note}")
