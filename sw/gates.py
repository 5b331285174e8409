"""Size of a design in gate equivalents: how many NAND gates of two inputs take as much area.

Yosys maps a design to the few cells of :data:`GATES`, for area and without any constraint of time.
So ratios of two designs say something, and the numbers by themselves little.
"""

import json
from pathlib import Path

from sw.area import Hierarchy, black_box, digest
from sw.errors import UserError
from sw.files import write_whole
from sw.synthesis import run_yosys


__all__ = ["FLIP_FLOP", "GATES", "gate_equivalents"]


#: Gate equivalents and function of each cell: the areas of the smallest cells of a 180 nm library
#: (Virtual Silicon UMCL18G212T3) over that of its NAND gate, as work on small ciphers gives them.
GATES = {
    "NOT":  (0.67, "!a"),
    "NAND": (1.00, "!(a*b)"),
    "NOR":  (1.00, "!(a+b)"),
    "AND":  (1.33, "a*b"),
    "OR":   (1.33, "a+b"),
    "XOR":  (2.67, "a*!b+!a*b"),
    "XNOR": (2.67, "a*b+!a*!b"),
    "MUX":  (2.33, "a*s+b*!s"),
    "ZERO": (0.00, "CONST0"),
    "ONE":  (0.00, "CONST1"),
}

#: Of a flip-flop of the same library, without reset or enable: these become gates.
FLIP_FLOP = 5.33

#: All flip-flops become one kind. ABC is not left to its own script, which takes minutes to look
#: for parts of multipliers that are equal.
SCRIPT = """read_verilog {name}.v
synth -flatten -noabc -top {top}
dfflegalize -cell $_DFF_P_ 01
opt_expr
opt_clean
abc -genlib gates.genlib -script +strash;dc2;map,-a
opt_clean
tee -q -o {name}.json stat -json
"""


def library():
    """The cells in ABC's format, all as slow as each other."""
    return "".join(
        f"GATE {name} {area} O={function};"
        + ("" if function.startswith("CONST") else " PIN * UNKNOWN 1 999 1 0 1 0") + "\n"
        for name, (area, function) in GATES.items())


def gate_equivalents(verilog, top, folder):
    """Gate equivalents of a design, its memories not counted.

    Parameters
    ----------
    verilog, top : str
        From :func:`hw.verilog.convert`, and the name of its outermost module.
    folder : path
        Where results are kept, under the hash of the Verilog.
    """
    hierarchy, folder = Hierarchy(verilog, top), Path(folder)
    texts = {name: hierarchy.texts[name] for name in hierarchy.closure(top)}
    memories = {name for name in texts if name.startswith("ram_")}
    source = "\n".join(black_box(text) if name in memories else text
                       for name, text in texts.items())
    file = f"{hierarchy.title(top)}-{digest(SCRIPT + library() + source)}"
    kept = folder / f"{file}.gates"
    if not kept.exists():
        write_whole(folder / f"{file}.v", source)
        write_whole(folder / "gates.genlib", library())
        run_yosys(SCRIPT.format(name=file, top=top), folder / f"{file}.log")
        write_whole(kept, json.dumps(json.loads((folder / f"{file}.json").read_text())
                                     ["design"]["num_cells_by_type"]))
    cells = json.loads(kept.read_text())
    sizes = {name: area for name, (area, _) in GATES.items()} | {"$_DFF_P_": FLIP_FLOP}
    sizes |= dict.fromkeys((*memories, "$scopeinfo"), 0)
    unknown = set(cells) - set(sizes)
    if unknown:
        raise UserError(f"{hierarchy.title(top)} has cells without a size in gate equivalents: "
                        f"{', '.join(sorted(unknown))}")
    return sum(sizes[cell] * count for cell, count in cells.items())
