"""Verilog generation: time, size and number of modules as the machine grows."""

import time
from dataclasses import replace

from hw.config import load, presets
from hw.matmul.array import Array
from hw.top import Tokamac
from hw.verilog import convert
from sw.bench.row import Row


__all__ = ["rows"]


#: Seconds in which an array of 64 x 64 multipliers must be written.
LIMIT = 10.0


def measure(case, config, component):
    start = time.perf_counter()
    text = convert(component, "tokamac")
    seconds = time.perf_counter() - start
    # The same configuration must give the same bytes; small ones are written twice.
    same = len(text) > 500_000 or convert(type(component)(config), "tokamac") == text
    modules = sum(line.startswith("module ") for line in text.splitlines())
    return Row(case=case, config=config.name, command="tokamac bench verilog", correct=same,
               more={"seconds": round(seconds, 2), "limit_seconds": LIMIT, "modules": modules,
                     "lines": text.count("\n"), "megabytes": round(len(text) / 1e6, 3)})


def rows(config, only_arrays=False):
    """Arrays of 16 to 64 x 64 multipliers, then the presets."""
    for slices, columns in ((1, 16), (2, 32), (4, 64)):
        chosen = replace(load("sim"), name=f"array{16 * slices}x{columns}", slices=slices,
                         columns=columns)
        yield measure(f"array of {16 * slices} x {columns} multipliers", chosen, Array(chosen))
    for name in () if only_arrays else presets():
        chosen = load(name)
        yield measure(f"machine {name}", chosen, Tokamac(chosen))
