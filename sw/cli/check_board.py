"""``tokamac check-board``: cable and memory of a board."""

from typing import Annotated

import typer


def check_board(
    device: Annotated[str, typer.Option(
        help="Where the board is: serial:PORT or serial:PORT@BAUD.")],
    amount: Annotated[int | None, typer.Option(
        "--bytes", min=1, help="Bytes to write and read; by default for some seconds.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of data and places.")] = 1,
):
    """Write and read the memory of a board, and say how fast it is and what is wrong.

    The board is loaded with any of our bitstreams; the one of `tokamac bitstream --check` is made
    within minutes. What lies in memory is lost.
    """
    from sw.board_check import BoardCheck
    from sw.errors import UserError
    from sw.runtime.host_link import HostLink
    from sw.runtime.serial_device import open_port

    kind, _, name = device.partition(":")
    if kind != "serial" or not name:
        raise UserError(f"a board is serial:PORT, such as serial:/dev/ttyUSB0, not {device!r}")
    port = open_port(name)
    try:
        check = BoardCheck(HostLink(port), seed)
        typer.echo(f"found     {check.who()}")
        wires = check.wires()
        typer.echo(f"pins      {wires.words} words, {len(wires.wrong)} wrong")
        found = check.traffic(amount)
        typer.echo(f"memory    {found.words:,} words, {len(found.wrong)} wrong")
        typer.echo(f"cable     written with {found.write / 1e3:.1f} kB/s, read with "
                   f"{found.read / 1e3:.1f} kB/s, of {check.identity.baud / 1e4:.1f} kB/s that the "
                   f"line carries; {check.link.repeated} requests were sent again")
        wrong = wires.wrong + found.wrong
        for address, written, read in wrong[:5]:
            typer.echo(f"  at {address:#010x} was written {written:#010x}, read {read:#010x}")
        if wrong:
            bits = sorted({*wires.bits(), *found.bits()})
            raise UserError(f"the memory is not right: {len(wrong)} words are wrong, in the bits "
                            f"{', '.join(map(str, bits))}; a slower clock (tokamac bitstream "
                            "--clock) tells whether it is the timing of its pins")
        typer.echo("all is well")
    finally:
        port.close()


def register(app):
    """The name has a hyphen."""
    app.command("check-board")(check_board)
