"""``tokamac soc``: a simulated board at a pseudo-terminal."""

import time
from typing import Annotated

import typer


def command(
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "nano",
    check: Annotated[bool, typer.Option(
        "--check", help="Simulate the design without a machine.")] = False,
    memory: Annotated[int | None, typer.Option(
        min=4096, help="Bytes of on-chip memory, rounded up to a power of two; without it, the "
                       "SDRAM of a ULX3S.")] = None,
    loss: Annotated[float, typer.Option(
        min=0, max=0.5, help="Chance that a byte on the line is lost; as often it changes.")] = 0.0,
    seconds: Annotated[float | None, typer.Option(
        help="End after this time; else with Ctrl-C.")] = None,
):
    """Simulate the system of a board, down to the bits of its serial line.

    The port that is printed is used as a board's:
    tokamac run MODEL --config CONFIG --device serial:PORT
    """
    from hw.config import load
    from sim.soc import SimulatedBoard

    chosen = None if check else load(config)
    typer.echo(f"preparing the simulated board with {chosen or 'the check design'}; it is built "
               "once, which takes minutes", err=True)
    with SimulatedBoard(chosen, memory_bytes=memory, loss=loss) as board:
        typer.echo(f"serial:{board.port}")
        end = None if seconds is None else time.monotonic() + seconds
        try:
            while end is None or time.monotonic() < end:
                time.sleep(0.1)
        except KeyboardInterrupt:
            pass
        typer.echo(f"{board.cycle} cycles", err=True)
