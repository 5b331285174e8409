"""``tokamac bench``: measurements, each beside its limit."""

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Annotated

import typer


#: Arrays of which the memory varies.
ARRAYS = tuple(str(Path(__file__).parents[1] / "bench" / "arrays" / f"array{number}.toml")
               for number in (256, 2048, 8192))

#: name -> (title, configurations measured if none is named)
BENCHES = {
    "attention": ("Attention of one layer", ("sim", "server")),
    "board":     ("Whole tokens on a board, with its SDRAM", ("ulx3s",)),
    "decode":    ("Decode of whole tokens", ("sim", "server", "nano")),
    "flips":     ("Bits of memories on the die that flip, and what comes of it", ("nano",)),
    "formats":   ("Formats of weights on one memory bus", ("sim",)),
    "gemm":      ("Matrix products, activations quantised on the die", ("sim",)),
    "memory":    ("Decode of what is pinned to the die", ("sim",)),
    "patterns":  ("Accuracy of windows, sinks and chosen pages", ("sim",)),
    "prefill":   ("A prompt of the bundled model", ("sim",)),
    "simulator": ("Speed of the simulation", ("sim",)),
    "verilog":   ("Verilog generation", ("sim",)),
    "width":     ("Width of memory and batch, of one array", ARRAYS),
}


def command(
    name: Annotated[str, typer.Argument(
        help=f"One of {', '.join(BENCHES)}; without one, all.")] = "",
    config: Annotated[str, typer.Option(
        help="A preset's name, or a configuration file.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list of rows.")] = False,
    plot: Annotated[Path | None, typer.Option(
        help="Draw what `width` measured, as SVG or PNG.")] = None,
    flips: Annotated[int | None, typer.Option(help="Of flips: how many in each memory.")] = None,
    bits: Annotated[int | None, typer.Option(help="Of flips: bits of a word at once.")] = None,
    memories: Annotated[str | None, typer.Option(
        help="Of flips: the memories, with commas between.")] = None,
    board: Annotated[str | None, typer.Option(help="Of board: another one than the ULX3S.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of flips: another one, other flips.")] = None,
):
    """Measure, and compare every result with the reference; wrong results give exit code 1."""
    from hw.config import load
    from sw.bench.row import show
    from sw.errors import UserError

    if name and name not in BENCHES:
        raise UserError(f"there is no benchmark {name!r}; there are {', '.join(BENCHES)}")
    if plot and name != "width":
        raise UserError("--plot draws the benchmark width only")
    if plot:
        # Before anything is measured, so that nothing is lost if it cannot be drawn.
        from sw.bench.width_plot import check, draw

        check(plot)
    options = {option: value for option, value in (
        ("flips", flips), ("bits", bits), ("memories", memories), ("seed", seed), ("board", board))
        if value is not None}
    correct = True
    for chosen in [name] if name else BENCHES:
        title, configs = BENCHES[chosen]
        module = import_module(f"sw.bench.{chosen}")
        for option in options:
            if option not in signature(module.rows).parameters:
                raise UserError(f"--{option} is no option of the benchmark {chosen!r}")
        rows = [row for each in ([config] if config else configs)
                for row in module.rows(load(each), **options)]
        correct &= show(rows, title, as_json=as_json)
        if plot:
            draw(rows, plot)
    if not correct:
        raise typer.Exit(1)
