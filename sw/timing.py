"""Clock rate of one block of a machine, placed and routed on an ECP5 by itself.

The block stands between registers that a few pins fill and empty, so that neither pins nor the
surroundings decide how fast it is.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from sw.area import digest, resources
from sw.files import write_whole
from sw.synthesis import place_and_route, synthesise


__all__ = ["Timing", "timing", "harness"]


PORT = re.compile(r"^  (input|output) (?:\[(\d+):0\] )?(\\\S+ |\w+);$", re.MULTILINE)

#: Name of the module around the block.
HARNESS = "harness"


@dataclass(frozen=True)
class Timing:
    """Clock rate in MHz, cells, and the critical path's start, end and nanoseconds."""

    clock: float
    cells: dict
    start: str
    end: str
    delay: float
    folder: Path


def ports(text):
    """(direction, name, bits) of each port of a module of emitted Verilog."""
    header = text[:text.index(";")]
    names = re.findall(r"\\\S+|\w+", header[header.index("("):])
    found = [(direction, name.strip(), int(high or 0) + 1)
             for direction, high, name in PORT.findall(text)]
    if sorted(names) != sorted(name for _, name, _ in found):
        raise ValueError(f"these are not the ports of a module that was emitted: {header}")
    return found


def harness(name, text):
    """Verilog of a module that feeds a block from one pin and sums its outputs on another.

    Returns
    -------
    str
        The Verilog.
    dict
        The cells that it adds.
    """
    given = [port for port in ports(text) if port[1] not in ("clk", "rst")]
    bits = {way: sum(width for direction, _, width in given if direction == way)
            for way in ("input", "output")}
    place = Counter()
    joined = [f".{wire}({wire})" for _, wire, _ in ports(text) if wire in ("clk", "rst")]
    for direction, wire, width in given:
        low = place[direction]
        place[direction] += width
        vector = "fed" if direction == "input" else "made"
        joined.append(f".{wire} ({vector}[{low + width - 1}:{low}])")
    inputs, outputs = max(1, bits["input"]), max(1, bits["output"])
    verilog = f"""
module {HARNESS}(input clk, input reset, input i, output o);
  reg rst;
  reg [{inputs - 1}:0] fed;
  reg [{outputs - 1}:0] taken, sums;
  wire [{outputs - 1}:0] made;
  always @(posedge clk) begin
    rst <= reset;
    fed <= {{fed, i}};
    taken <= made;
    sums <= (sums << 1) ^ taken;
  end
  assign o = sums[{outputs - 1}];
  {name} block (
    {", ".join(joined)}
  );
endmodule
"""
    return verilog, {"FF": inputs + 2 * outputs + 1, "LUT": outputs - 1}


def timing(hierarchy, name, folder, *, frequency=100.0, seed=1):
    """Place and route one block of a :class:`sw.area.Hierarchy`, with all that is below it.

    Parameters
    ----------
    hierarchy : :class:`sw.area.Hierarchy`
    name : str
        Module of the block.
    folder : path
        Where files go, in a folder of their own; a result that is there is not made again.
    frequency : float
        Clock rate to aim at, in MHz.
    seed : int
        Of the placer.

    Returns
    -------
    :class:`Timing`
    """
    source = hierarchy.source(name, whole=True)
    around, added = harness(name, hierarchy.texts[name])
    key = f"{hierarchy.title(name)}-{digest(source + around)}"
    folder = Path(folder) / key
    netlist = folder / f"{HARNESS}.json"
    if not netlist.exists():
        netlist = synthesise(source + around, HARNESS, folder)
    found = json.loads(netlist.read_text())["modules"][HARNESS]["cells"].values()
    cells = resources(Counter(cell["type"] for cell in found))
    cells = {kind: max(0, count - added.get(kind, 0)) for kind, count in cells.items()}

    kept = folder / f"report-{frequency:g}-{seed}.json"
    if not kept.exists():
        write_whole(kept, json.dumps(place_and_route(netlist, frequency=frequency, seed=seed)))
    report = json.loads(kept.read_text())
    # A pin's own paths are marked as asynchronous: the clock's are from an edge to an edge.
    path = next(path["path"] for path in report["critical_paths"]
                if path["from"] == path["to"])
    return Timing(
        clock=min(clock["achieved"] for clock in report["fmax"].values()), cells=cells,
        start=point(path[0]["from"]), end=point(path[-1]["to"]),
        delay=sum(step["delay"] for step in path), folder=folder)


def point(end):
    """Name of a register without the marks of synthesis."""
    return re.sub(r"(_(TRELLIS_FF|LUT4|CCU2C|PFUMX|L6MUX21|[A-Z]+\d*)(_[A-Z]\w*)?(_\d+)?)+$", "",
                  end["cell"]) + f" {end['port']}"
