"""``tokamac verilog``: the machine of a configuration as plain Verilog."""

import time
from pathlib import Path
from typing import Annotated

import typer


def command(
    config: Annotated[str, typer.Argument(
        help="A preset's name, or a configuration file.")] = "sim",
    out: Annotated[Path | None, typer.Option(
        help="Directory to write to; by default build/<configuration>.")] = None,
):
    """Write a configuration's machine as Verilog-2005."""
    from hw.config import load
    chosen = load(config)

    from hw.top import Tokamac
    from hw.verilog import convert
    from sw.files import write_whole
    start = time.perf_counter()
    text = convert(Tokamac(chosen), "tokamac")
    path = (out or Path("build") / chosen.name) / "tokamac.v"
    write_whole(path, text)
    modules = sum(line.startswith("module ") for line in text.splitlines())
    typer.echo(f"{path}: {len(text) / 1e6:.2f} MB, {modules} modules, top tokamac, "
               f"in {time.perf_counter() - start:.1f} s")
