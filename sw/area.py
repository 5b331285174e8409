"""Cells of a machine on an ECP5, block by block.

Yosys takes long for a whole machine, and nothing of it can be kept when one block changes. So the
emitted Verilog is cut at the blocks: each is synthesised by itself, once for all its instances,
with the blocks below it as black boxes, and the result is kept under the hash of its text. Nothing
is optimised across the cuts, so the sums are somewhat more than the whole machine takes.
"""

import hashlib
import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sw.errors import UserError
from sw.files import write_whole
from sw.synthesis import run_yosys


__all__ = ["ECP5_85F", "CELLS", "Hierarchy", "Row", "area", "measure"]


#: What an LFE5U-85F has.
ECP5_85F = {"LUT": 83640, "FF": 83640, "DSP": 156, "RAM": 208}

#: What the cells of a netlist take of that. A carry cell is two lookup tables; a memory of 16 words
#: of 4 bits is four, and two that its write port blocks.
CELLS = {
    "LUT4": {"LUT": 1}, "CCU2C": {"LUT": 2}, "TRELLIS_DPR16X4": {"LUT": 6},
    "TRELLIS_FF": {"FF": 1}, "MULT18X18D": {"DSP": 1}, "DP16KD": {"RAM": 1},
    "PDPW16KD": {"RAM": 1},
}

#: Cells that take nothing of their own: multiplexers between lookup tables, and notes.
FREE = {"PFUMX", "L6MUX21", "$scopeinfo"}

#: A block of less Verilog than this is counted with the block that it is part of.
LEAST_TEXT = 9000

#: Part of the hash, so that results of other commands are not taken for these.
SCRIPT = "read_verilog {name}.v\nsynth_ecp5 -top {top}\ntee -q -o {name}.json stat -json\n"

MODULE   = re.compile(r"^module\s+(\\\S+|\w+).*?^endmodule$", re.MULTILINE | re.DOTALL)
INSTANCE = re.compile(r"^  (\\\S+|\w+) +(?:\\\S+ |\w+) ?\($", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One block: its name, how deep it lies, instances in all, and the cells of all of them."""

    name: str
    depth: int
    instances: int
    cells: dict


class Hierarchy:
    """The modules of emitted Verilog, and which of them are blocks that are counted.

    Parameters
    ----------
    verilog : str
        From :func:`hw.verilog.convert`.
    top : str
        Name of the outermost module.
    """

    def __init__(self, verilog, top):
        self.top = top
        self.texts = {found[1]: found[0] for found in MODULE.finditer(verilog)}
        if top not in self.texts:
            raise ValueError(f"the Verilog has no module {top!r}")
        self.children = {name: [child for child in INSTANCE.findall(text) if child in self.texts]
                         for name, text in self.texts.items()}
        self.blocks = [name for name in self.closure(top) if self._is_block(name)]

    def _is_block(self, name):
        """The machine and its units; their parts and shared components, if they are not small."""
        inside = re.fullmatch(rf"\\(?:core|{re.escape(self.top)})\.([^.]*)(\.[^.]*)?", name)
        if name == self.top or (inside and not inside[2]):
            return True
        text = self.texts[name]
        # What is only wires is part of its surroundings, and so are memories, small blocks, and
        # parts of blocks: logic between black boxes is not mapped as well as it is as a whole.
        if "always @" not in text or name.startswith("ram_") or ("." in name and not inside):
            return False
        return len("".join(map(self.texts.get, self.closure(name)))) > LEAST_TEXT

    def closure(self, name, stop=()):
        """A module and all modules below it, without going below those in ``stop``."""
        found = [name]
        for module in found:
            if module == name or module not in stop:
                found += [child for child in dict.fromkeys(self.children[module])
                          if child not in found]
        return found

    def source(self, name, *, whole=False):
        """Verilog of a block: everything below it, or with the blocks below as black boxes."""
        boxes = [] if whole else self.blocks
        return "\n".join(black_box(self.texts[module]) if module in boxes and module != name
                         else self.texts[module] for module in self.closure(name, boxes))

    @staticmethod
    def title(name):
        """The name of a module without Verilog's escapes and numbers."""
        return re.sub(r"\$\d+", "", name.strip("\\"))

    def find(self, title):
        """The block of this title; ``core.`` may be left out, and any start that is not needed."""
        titles = {self.title(name): name for name in self.blocks}
        for known in (title, f"core.{title}"):
            if known in titles:
                return titles[known]
        ends = [name for long, name in titles.items() if long.endswith(f".{title}")]
        if len(ends) == 1:
            return ends[0]
        raise UserError(f"there is no block {title!r}; there are {', '.join(sorted(titles))}")


def black_box(text):
    """Only the ports of a module."""
    header = text[:text.index(";") + 1]
    ports = re.findall(r"^  (?:input|output)\b.*;$", text, re.MULTILINE)
    return "\n".join(["(* blackbox *)", header, *ports, "endmodule"])


def digest(source):
    """Hash of Verilog; the numbers that Amaranth and Yosys count through a whole design do not
    matter, only which of them are the same."""
    seen = {}
    plain = re.sub(r"\$\d+", lambda found: f"${seen.setdefault(found[0], len(seen))}", source)
    return hashlib.sha256((SCRIPT + plain).encode()).hexdigest()[:16]


def measure(hierarchy, name, folder):
    """Cells of a block by type, without those of the blocks below, which are counted as cells."""
    folder = Path(folder)
    source = hierarchy.source(name)
    # Black boxes keep their names, which may have numbers: the result has titles.
    file = f"{hierarchy.title(name)}-{digest(source)}"
    kept = folder / f"{file}.cells"
    if not kept.exists():
        write_whole(folder / f"{file}.v", source)
        run_yosys(SCRIPT.format(name=file, top=name), folder / f"{file}.log")
        counts = json.loads((folder / f"{file}.json").read_text())["design"]["num_cells_by_type"]
        titled = {hierarchy.title(cell) if not cell.startswith("$") else cell: count
                  for cell, count in counts.items()}
        write_whole(kept, json.dumps(titled))
    return json.loads(kept.read_text())


def resources(cells):
    """What cells take of the device, without the blocks among them."""
    sums = Counter(dict.fromkeys(ECP5_85F, 0))
    for cell, count in cells.items():
        for kind, each in CELLS.get(cell, {}).items():
            sums[kind] += count * each
    return dict(sums)


def area(verilog, top, folder, *, jobs=1, progress=lambda title: None):
    """Cells of a machine and of its blocks.

    Parameters
    ----------
    verilog, top : str
        As for :class:`Hierarchy`.
    folder : path
        Where results are kept.
    jobs : int
        Processes at a time.
    progress : callable
        Called with the title of each block that is done.

    Returns
    -------
    list of :class:`Row`
        The machine, and below each block its parts; each with all that is below it.
    """
    hierarchy = Hierarchy(verilog, top)
    titles = [hierarchy.title(name) for name in hierarchy.blocks]

    def one(name):
        cells = measure(hierarchy, name, folder)
        progress(hierarchy.title(name))
        return cells

    with ThreadPoolExecutor(jobs) as pool:
        try:
            measured = dict(zip(titles, pool.map(one, hierarchy.blocks), strict=True))
        except UserError:
            pool.shutdown(cancel_futures=True)
            raise
    for title, cells in measured.items():
        unknown = set(cells) - set(CELLS) - FREE - set(titles)
        if unknown:
            raise UserError(f"{title} has cells that are no part of an ECP5's count: "
                            f"{', '.join(sorted(unknown))}")
    return tree(measured, hierarchy.title(top))


def tree(measured, top):
    """The rows of :func:`area` from the cells of each block."""
    def whole(name):
        total = Counter(resources(measured[name]))
        for part, count in measured[name].items():
            if part in measured:
                for kind, each in whole(part).items():
                    total[kind] += count * each
        return {kind: total[kind] for kind in ECP5_85F}

    def visit(name, depth, instances):
        yield Row(name, depth, instances,
                  {kind: instances * each for kind, each in whole(name).items()})
        for part in sorted(set(measured[name]) & set(measured)):
            yield from visit(part, depth + 1, instances * measured[name][part])

    return list(visit(top, 0, 1))
