"""``tokamac verilog``: the core of a configuration as plain Verilog."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer


def write_whole(path, text):
    """Write a file that is never seen half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


def command(
    config: Annotated[str, typer.Argument(
        help="A preset's name, or a configuration file.")] = "sim",
    out: Annotated[Path | None, typer.Option(
        help="Directory to write to; by default build/<configuration>.")] = None,
):
    """Write a configuration's core as Verilog-2005."""
    from hw.config import load
    chosen = load(config)

    from hw.core import Core
    from hw.verilog import convert
    start = time.perf_counter()
    text = convert(Core(chosen), "tokamac")
    path = (out or Path("build") / chosen.name) / "tokamac.v"
    write_whole(path, text)
    modules = sum(line.startswith("module ") for line in text.splitlines())
    typer.echo(f"{path}: {len(text) / 1e6:.2f} MB, {modules} modules, top tokamac, "
               f"in {time.perf_counter() - start:.1f} s")
