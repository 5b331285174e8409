"""Formats of weights on one memory bus: cycles a token, size of the multipliers, and accuracy."""

import sys
from dataclasses import replace

from hw.config import load
from hw.formats import FORMATS
from hw.matmul.accumulator import Accumulator
from hw.matmul.cell import Cell
from hw.matmul.decoder import ElementDecoder
from hw.matmul.timing import PAIRS
from hw.verilog import convert
from sim.build import build_root
from sw.area import area
from sw.bench.decode import TOKENS, bundled, decode
from sw.bench.matrices import bits_a_weight
from sw.bench.row import Row
from sw.gates import gate_equivalents
from sw.train.losses import Case, read_losses


__all__ = ["BASELINE", "WANTED", "multiplier_sizes", "rows"]


#: What the other formats are compared with.
BASELINE = "int16"

#: Share of the ratio of bytes that the ratio of cycles should reach.
WANTED = 0.97


def say(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def multiplier_sizes(config, format):
    """Sizes of the multipliers of a machine of the same geometry that has one format only.

    Such a machine multiplies its keys and values too, with the same multipliers. Memories are not
    counted.

    Returns
    -------
    dict
        ``gates_cell``: gate equivalents of a cell (multipliers, adders and registers of the exact
        sum) for each multiplication in a cycle; ``gates_all``: with the cell's accumulator and its
        share of the decoder that all columns have in common; ``lut_pair``, ``dsp_pair``: what a
        pair of the cell, of which it has 16, takes on an ECP5.
    """
    alone, folder = replace(config, formats=(format,)), build_root() / "area"
    generic, ecp5 = (replace(alone, technology=name) for name in ("generic", "ecp5"))
    cell, accumulator, decoder = (
        gate_equivalents(convert(part(generic), "block"), "block", folder)
        for part in (Cell, Accumulator, ElementDecoder))
    # A beat of 4-bit weights has two for each pair, one of 16 bits half of one.
    products = 2 * PAIRS / FORMATS[format].beats
    used = area(convert(Cell(ecp5), "block"), "block", folder)[0].cells
    return {"gates_cell": round(cell / products),
            "gates_all": round((cell + accumulator + decoder / config.columns) / products),
            "lut_pair": used["LUT"] / PAIRS, "dsp_pair": used["DSP"] / PAIRS}


def rows(config):
    """A :class:`Row` for each format, the baseline first.

    Cycles are those of one machine of the geometry of ``config`` that has all formats.
    """
    names = load("formats").formats
    # Under this name and with the geometry of sim, it is the preset, which others build too.
    machine = replace(config, name="formats", formats=names)
    losses, (model, prompt), base = read_losses(), bundled(), None
    for done, name in enumerate(sorted(names, key=lambda name: name != BASELINE)):
        say(f"{name}, format {done + 1} of {len(names)}: gates")
        sizes = multiplier_sizes(config, name)
        say(f"{name}: decoding, on a machine that is built once")
        found = decode(model, machine, prompt, TOKENS, name)
        positions = found.outcome.positions
        cycles, useful = (value / positions
                          for value in (found.outcome.counters["cycles"], found.useful))
        ratios = {}
        if name == BASELINE:
            base = cycles, useful
        elif base:
            faster, fewer = base[0] / cycles, base[1] / useful
            ratios = {"faster": faster, "fewer_bytes": fewer, "quotient": faster / fewer,
                      "wanted": WANTED}
        yield Row(
            case=name, config=config.name, cycles=cycles, limit=useful / config.word_bytes,
            correct=found.correct, command=f"tokamac bench formats --config {config.name}",
            more={"bits": bits_a_weight(model, found.compiled.model), **ratios, **sizes,
                  "loss": losses.get(Case(name, "int8"))})
