"""The netlist of a machine for an ECP5: synthesis, and the device that runs what came out."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sim.build import build_root, verilog_of
from sim.device import SimulatedDevice
from sim.netlist import netlist_library
from sw.files import alone, write_whole
from sw.synthesis import synthesise


__all__ = ["Netlist", "netlist_of"]


@dataclass(frozen=True)
class Netlist:
    """What synthesis made of a machine: the file, and cells of each kind."""

    config: object
    path: Path
    cells: Counter

    def library(self):
        """Path of the shared library that simulates it; built if it does not exist."""
        return netlist_library(self.path)

    def device(self, **options):
        """The netlist as a simulated device; see :class:`sim.device.SimulatedDevice`."""
        return SimulatedDevice(self.config, library=self.library(), **options)


def netlist_of(config, *, progress=lambda text: None):
    """The netlist of a configuration's machine, kept between calls.

    Parameters
    ----------
    config : :class:`hw.config.Config`
        Synthesised with ``technology`` ecp5, whatever it says: programs are the same.
    progress : callable
        Called with a sentence before what takes long.
    """
    mapped = replace(config, technology="ecp5")
    progress("writing Verilog")
    verilog = verilog_of(mapped)
    try:
        tool = version("pyosys")
    except PackageNotFoundError:
        tool = ""       # synthesis says what is missing
    digest = hashlib.sha256(f"{tool}\0{verilog}".encode()).hexdigest()[:16]
    folder = build_root() / "netlist" / f"{config}-{digest}"
    path, counts = folder / "tokamac.json", folder / "cells.json"
    with alone(folder):
        if not counts.exists():
            progress("synthesis with Yosys, which takes minutes; its log is "
                     f"{folder}/synthesis.log")
            synthesise(verilog, "tokamac", folder)
            module = json.loads(path.read_text())["modules"]["tokamac"]
            kinds = Counter(cell["type"] for cell in module["cells"].values())
            kinds.pop("$scopeinfo", None)
            write_whole(counts, json.dumps(kinds))
    return Netlist(mapped, path, Counter(json.loads(counts.read_text())))
