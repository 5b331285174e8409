"""Whether a machine and what stands around it fit an FPGA, before place and route takes hours.

Three answers, each more exact, and each later than the one before:

* what the configuration alone says: multipliers of the array, bits of the large memories;
* the sizes of presets that were measured before, kept in ``sizes.toml``;
* synthesis block by block (:mod:`sw.area`), whose sums are more than a whole synthesis takes.
"""

import hashlib
import math
import tomllib
from dataclasses import asdict
from pathlib import Path

from fpga.blocks import BLOCKS
from fpga.devices import device
from hw.config import load, presets
from hw.top import Tokamac
from hw.verilog import convert
from sw.area import area
from sw.errors import UserError


__all__ = ["MEASURED", "estimate", "fitting", "kept", "key", "lacking", "least", "measure",
           "measured", "refuse", "refuse_cells", "rows", "shares", "table"]

#: Where sizes are kept; :mod:`sw.sizes` writes it.
KEPT = Path(__file__).parent / "sizes.toml"

#: Presets whose sizes are kept: those that an FPGA here may hold.
MEASURED = ("small", "nano", "ulx3s")

#: Of the sum of blocks, this is in a whole synthesis, which sees across their borders: 0.84 for
#: the machine of ``nano``, 0.87 for ``small`` and ``ulx3s`` with everything around them.
WHOLE = 0.87

#: Lookup tables of other families for one of an ECP5: four blocks were mapped to each.
OTHER = {"xilinx7": 0.5, "ice40": 0.75}

#: More than this share of the lookup tables is hard to place and route.
FULL = 0.9

NAMES = {"LUT": "lookup tables", "FF": "flip-flops", "DSP": "multipliers", "RAM": "block RAMs",
         "bits": "bits of memory"}

#: Keys of a configuration that make it smaller -> (least value, what they take).
LEVERS = {
    "columns": (1, {"LUT", "DSP", "RAM"}), "slices": (1, {"LUT", "DSP", "RAM"}),
    "lanes": (2, {"LUT", "DSP"}), "cache": (0, {"LUT", "RAM", "bits"}), "pages": (0, {"LUT"}),
    "forward": (0, {"LUT"}), "ecc": (0, {"LUT"}), "outstanding": (2, {"LUT"}),
    "workspace": (4096, {"RAM", "bits"}), "w_fifo": (512, {"RAM", "bits"}),
    "replay": (1024, {"RAM", "bits"}),
}


def key(config):
    """8 digits that name everything a machine's size depends on, but the sources of hardware."""
    choice = {name: value for name, value in asdict(config).items() if name != "name"}
    return hashlib.sha256(repr(sorted(choice.items())).encode()).hexdigest()[:8]


def kept():
    """Name -> cells of blocks, and ``key``, of what was measured before."""
    return tomllib.loads(KEPT.read_text()) if KEPT.exists() else {}


def measured(config):
    """Cells of a machine's blocks that were measured before; None if it was not, or has changed."""
    found = kept().get(config.name)
    return found if found and found["key"] == key(config) else None


def measure(config, folder="build/area", *, jobs=1, progress=lambda title: None):
    """Cells of a machine and of what stands around it, by blocks; takes minutes."""
    parts = {"tokamac": Tokamac, **BLOCKS}
    total = dict.fromkeys(("LUT", "FF", "DSP", "RAM"), 0)
    for name, part in parts.items():
        row = area(convert(part(config), name), name, folder, jobs=jobs, progress=progress)[0]
        total = {kind: count + row.cells[kind] for kind, count in total.items()}
    return total


def least(config):
    """Cells that a machine takes at least, as its configuration alone says."""
    sizes = ("w_fifo", "d_fifo", "replay", "cache", "workspace")
    return {"DSP": 16 * config.columns * config.slices,
            "bits": 8 * sum(getattr(config, name) for name in sizes) + 128 * config.program}


def estimate(blocks, board):
    """Cells on a board of a machine, from the cells of its blocks."""
    lut = blocks["LUT"] * WHOLE * OTHER.get(board.family, 1)
    ram = 0 if board.chip else math.ceil(8 * board.ram / (16 << 10))
    return {"LUT": 100 * round(lut / 100), "FF": blocks["FF"],
            "DSP": blocks["DSP"], "RAM": blocks["RAM"] + ram}


def available(fpga):
    """Kind -> how many an FPGA has."""
    return {**fpga.cells, "bits": fpga.memory_bits}


def shares(cells, fpga):
    """Kind -> share of the FPGA that is taken."""
    return {kind: count / available(fpga)[kind] for kind, count in cells.items()}


def lacking(cells, fpga):
    """Kinds of which the FPGA has too few."""
    return [kind for kind, share in shares(cells, fpga).items() if share > 1]


def fitting(board):
    """Presets that fit a board -> share of its lookup tables."""
    fpga, found = device(board), {}
    for name in presets():
        config = load(name)
        blocks = measured(config)
        if blocks and runs(board, config) and not lacking(least(config), fpga):
            cells = estimate(blocks, board)
            if not lacking(cells, fpga):
                found[name] = shares(cells, fpga)["LUT"]
    return found


def rows(boards, config=None, blocks=None):
    """A dictionary for each board: what it has, and what fits it.

    With a configuration and the cells of its blocks, also what that takes there.
    """
    found = []
    for one in boards:
        fpga = device(one)
        found.append({
            "name": one.name, "title": one.title, "device": fpga.name, **fpga.cells,
            "memory_bytes": one.memory_bytes, "core_hz": one.core_hz,
            "flow": "vendor" if one.family == "xilinx7" else "open",
            "fits": {name: round(share, 2) for name, share in fitting(one).items()},
        })
        if config:
            cells = estimate(blocks, one)
            found[-1]["config"] = {
                "name": config.name, "cells": cells,
                "shares": {kind: round(share, 2) for kind, share in shares(cells, fpga).items()},
                "fits": runs(one, config) and not lacking(cells, fpga)}
    return found


def table(found, config=None):
    """Text of :func:`rows`."""
    last = f"lookup tables of {config}" if config else "presets that fit"
    lines = [("board", "FPGA", "LUT", "memory", "clock", "tools", last)]
    for row in found:
        size = row["memory_bytes"]
        told = row.get("config")
        fits = ", ".join(f"{name} ({100 * share:.0f} %)" for name, share in row["fits"].items())
        lines.append((
            row["name"], row["device"], f"{row['LUT']:,}",
            f"{size >> 20} MB" if size >> 20 else f"{size >> 10} KB",
            f"{row['core_hz'] / 1e6:g} MHz", row["flow"],
            f"{told['cells']['LUT']:,} ({100 * told['shares']['LUT']:.0f} %)"
            f"{'' if told['fits'] else ': does not fit'}" if told else fits or "none"))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(text.rjust(width) if n in (2, 3, 4) else text.ljust(width)
                               for n, (text, width) in enumerate(zip(line, widths, strict=True))
                               ).rstrip() for line in lines)


def runs(board, config):
    """Whether the board's FPGA has the primitives that the machine is made of."""
    return config.technology != "ecp5" or board.family == "ecp5"


def refuse(board, config):
    """Refuse what cannot fit, without synthesis: by the configuration, or by a size that is kept.

    Returns
    -------
    str
        What the user should know of what is not refused; often nothing.
    """
    fpga, blocks = device(board), measured(config)
    cells = estimate(blocks, board) if blocks else {}
    short = lacking(cells, fpga)
    if not short:
        cells = least(config)
        short = lacking(cells, fpga)
    if short:
        raise UserError(sentence(board, config, cells, short, "about" if blocks else "at least"))
    return tight(shares(estimate(blocks, board), fpga)["LUT"]) if blocks else ""


def refuse_cells(board, config, cells):
    """Refuse what cannot fit by the cells of a whole synthesis; returns as :func:`refuse`."""
    fpga = device(board)
    short = lacking(cells, fpga)
    if short:
        raise UserError(sentence(board, config, cells, short, ""))
    return tight(shares(cells, fpga)["LUT"])


def tight(share):
    return (f"{100 * share:.0f} % of the lookup tables are taken: place and route may take hours, "
            "or fail" if share > FULL else "")


def sentence(board, config, cells, short, about):
    """What a configuration needs and an FPGA has, what fits it, and what makes it smaller."""
    fpga = device(board)
    *first, last = (f"{cells[kind]:,} of {available(fpga)[kind]:,} {NAMES[kind]}" for kind in short)
    needs = f"{', '.join(first)} and {last}" if first else last
    fits = list(fitting(board))
    levers = [name for name, (low, kinds) in LEVERS.items()
              if kinds & set(short) and getattr(config, name) > low]
    change = (f" What makes {config} smaller: fewer or less of {', '.join(levers)} (docs/area.md "
              "has what each takes)." if levers else "")
    return (f"{config} takes {about + ' ' if about else ''}{needs} of the {fpga.name} of "
            f"{board.title}; " + (f"the presets that fit are {', '.join(fits)}." if fits else
                                  "no preset fits.") + change)
