"""Builds the simulator of a netlist of ECP5 cells, which Yosys made of the Verilog."""

import ctypes
import hashlib
import json
import os
from pathlib import Path

import numpy as np

from sim.build import build_root, run
from sim.netlist_tables import tables
from sw.files import alone, write_whole
from sw.toolenv import tool_environment


__all__ = ["NetlistModule", "netlist_library"]


HERE = Path(__file__).parent


def netlist_library(netlist, *, top="tokamac"):
    """Path of the shared library of a machine's netlist, for :class:`sim.device.SimulatedDevice`.

    The cells are tables that the library goes through; nothing is compiled but the harness, so that
    a netlist of any size is ready in seconds.

    Parameters
    ----------
    netlist : path
        Yosys's JSON netlist, without hierarchy.
    top : str
        Its module.
    """
    source = Path(netlist).read_bytes()
    digest = hashlib.sha256(source + (HERE / "netlist_tables.py").read_bytes())

    def prepare(folder):
        write_whole(folder / "netlist.bin", tables(json.loads(source)["modules"][top]))

    return library_of("harness.cpp", digest, prepare)


def library_of(harness, digest, prepare=lambda folder: None):
    """Path of the library of a harness and whatever else ``digest`` has seen."""
    for path in sorted([*HERE.glob("*.h"), *HERE.glob("cells/*.h"), HERE / harness]):
        digest.update(path.read_bytes())
    folder = build_root() / "sim" / f"netlist-{digest.hexdigest()[:16]}"
    library = folder / "libnetlist.so"
    with alone(folder):
        if not library.exists():
            prepare(folder)
            run(folder, tool_environment(), [
                "g++", "-O3", "-fPIC", "-shared", "-std=c++17", "-DVM_TRACE=0", "-I", ".",
                "-I", HERE / "cells", HERE / harness, "-o", "library.tmp", "-lpthread"])
            os.replace(folder / "library.tmp", library)
    return library


class NetlistModule:
    """The netlist of any module with a clock ``clk``, by its ports.

    Parameters
    ----------
    module : dict
        Of Yosys's JSON netlist, without hierarchy.
    """

    def __init__(self, module):
        self._library = bind(library_of("cells/module.cpp", hashlib.sha256()))
        self._tables = tables(module)
        self._model = self._library.module_new(self._tables)

    def _port(self, name):
        size = ctypes.c_uint64()
        first = self._library.module_port(self._model, name.encode(), ctypes.byref(size))
        assert first, f"the netlist has no port {name}"
        return np.ctypeslib.as_array(ctypes.cast(first, ctypes.POINTER(ctypes.c_uint8)),
                                     (size.value,))

    def put(self, **inputs):
        """Set inputs."""
        for name, value in inputs.items():
            port = self._port(name)
            port[:] = np.frombuffer(int(value).to_bytes(len(port), "little"), np.uint8)

    def get(self, name):
        """An output, as it is with these inputs."""
        self._library.module_eval(self._model)
        return int.from_bytes(self._port(name).tobytes(), "little")

    def tick(self):
        """Let the clock rise, and fall."""
        for level in (1, 0):
            self.put(clk=level)
            self._library.module_eval(self._model)

    def close(self):
        """End the simulation."""
        self._library.module_free(self._model)


def bind(path):
    library = ctypes.CDLL(str(path))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, arguments in (
        ("module_new", pointer, [text]),
        ("module_free", None, [pointer]),
        ("module_port", pointer, [pointer, text, ctypes.POINTER(ctypes.c_uint64)]),
        ("module_eval", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
