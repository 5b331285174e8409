"""``tokamac netlist``: a model on the cells that synthesis makes of a machine."""

import time
from typing import Annotated

import typer

from sw.arguments import FormatChoice, ModelFile


def command(
    model: ModelFile = "bundled",
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "nano",
    prompt: Annotated[str, typer.Option(help="What the text begins with.")] = "Once",
    tokens: Annotated[int, typer.Option(help="Tokens to generate.")] = 2,
    format: FormatChoice = None,
):
    """Run a model on the ECP5 cells that Yosys makes of a machine, and compare it with the
    reference, bit for bit.
    """
    from rich.console import Console

    from sw.cli.run import compile_choice, write_texts
    from sw.errors import UserError
    from sw.netlist import netlist_of
    from sw.runtime.session import Session
    from sw.runtime.verify import Verifier

    compiled, words = compile_choice(model, [prompt], tokens, config, format, check=True)
    machine = compiled.config

    def progress(text):
        typer.echo(f"{machine}: {text}", err=True)

    start = time.perf_counter()
    netlist = netlist_of(machine, progress=progress)
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in netlist.cells.most_common())
    typer.echo(f"{machine}: {netlist.cells.total():,} cells in "
               f"{time.perf_counter() - start:.0f} s: {kinds}")
    progress("building the simulator of the netlist")
    netlist.library()
    try:
        with netlist.device(memory_bytes=compiled.memory.bytes) as device:
            session = Session(device, compiled)
            verifier = Verifier(device, compiled)
            progress("running the model, which takes a minute or so")
            start = time.perf_counter()
            write_texts(session, words)
            seconds, cycles = time.perf_counter() - start, session.outcome.counters["cycles"]
            typer.echo(f"{cycles:,} cycles in {seconds:.0f} s, {cycles / seconds:,.0f} a second")
            checked = verifier.verify(session.outcome)
    except UserError as error:
        raise UserError(f"the netlist of {machine}, {netlist.path}, does not do what the machine "
                        f"does: {error}") from error
    Console(highlight=False, soft_wrap=True).print(f"check: {checked}", markup=False)
