"""Builds and runs the cocotb bench of one component, on Verilator or Icarus.

Builds are kept in ``build/bench`` under a hash of everything that they depend on, so a bench that
is run again, with another seed or by another process, starts at once.
"""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from cocotb_tools.runner import get_runner

from hw.verilog import convert
from sw.toolenv import activate
from verif.bench import VARIABLE
from verif.waves import top_ports, write_save_file


__all__ = ["SIMULATORS", "BenchFailure", "run_bench"]


ROOT = Path(__file__).resolve().parent.parent

SIMULATORS = ("verilator", "icarus")

BUILD_ARGS = {
    # Only the top's ports are public: the runner's own choice, everything, is several times slower.
    "verilator": ["-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1", "--assert",
                  "-CFLAGS", "-O1"],
    # In SystemVerilog mode Icarus leaves combinational outputs X until an input changes.
    "icarus":    ["-g2005"],
}

DEFAULT_SEED = 1

#: Seconds after which a simulation is ended as hanging.
TIME_LIMIT = 900


class BenchFailure(Exception):
    """A bench that could not be built, did not end, or has failing tests."""


def run_bench(block, component, simulator="verilator", *, config=None, test_module=None,
              run_dir=None, waves=False, seed=None, testcase=None):
    """Run the cocotb tests of ``test_module`` on ``component``; raise :class:`BenchFailure`.

    Parameters
    ----------
    block : str
        Name of the top module.
    component : ``wiring.Component``
        What is tested.
    simulator : str
        One of :data:`SIMULATORS`.
    config : dict or None
        What :func:`verif.bench.current` returns in the bench; anything that JSON carries.
    test_module : str or None
        Module of the bench; by default ``verif.test_<block>``.
    run_dir : path or None
        Where logs, results and waves go; by default ``build/runs/<block>-<simulator>``.
    waves : bool
        Record every signal into ``<block>.fst``, with a GTKWave save file beside it.
    seed : int or None
        Seed of the bench's random numbers; by default the same in every run.
    testcase : str or None
        Run only this test of the bench.

    Returns
    -------
    int
        Number of tests that passed; never 0.
    """
    if simulator not in SIMULATORS:
        raise ValueError(f"simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    activate()
    # The simulator's Python gets this path.
    if str(ROOT) not in sys.path:
        sys.path.append(str(ROOT))
    run_dir = Path(run_dir or ROOT / "build" / "runs" / f"{block}-{simulator}").resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    ports = top_ports(component)
    seed = DEFAULT_SEED if seed is None else seed

    with runner_environment():
        runner = get_runner(simulator)
        runner.log.setLevel("WARNING")
        build_dir = build(runner, block, convert(component, name=block), simulator, waves)
        results, log = run_dir / "results.xml", run_dir / "simulation.log"
        facts = {"config": config or {}, "inputs": [port.name for port in ports if port.input]}
        wave_file = run_dir / f"{block}.fst"
        if waves:
            write_save_file(run_dir / f"{block}.gtkw", wave_file, block, ports)
        try:
            runner.test(
                hdl_toplevel=block, test_module=test_module or f"verif.test_{block}",
                hdl_toplevel_lang="verilog", build_dir=build_dir, test_dir=run_dir,
                results_xml=str(results), log_file=log,
                seed=seed, testcase=testcase, waves=waves,
                test_args=["--trace-file", str(wave_file)] if waves and simulator == "verilator"
                          else [],
                extra_env={VARIABLE: json.dumps(facts)})
        except (RuntimeError, SystemExit) as error:
            # Under pytest the runner exits; outside it keeps silent about failing tests.
            reason = str(error)
        else:
            reason = ""
    return judge(f"{block} on {simulator}, seed {seed}", results, log, reason)


def judge(what, results, log, reason):
    """Number of tests in the results file; raises if one failed or none was run."""
    __tracebackhide__ = True  # pytest then shows the bench's failure instead of this function.
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-40:])
    where = f"full log: {log}"
    if not results.is_file():
        raise BenchFailure(f"{what}: the simulation ended without results. {reason}\n"
                           f"{tail}\n{where}")
    cases = list(ElementTree.parse(results).getroot().iter("testcase"))
    failed = [case for case in cases
              if case.find("failure") is not None or case.find("error") is not None]
    if failed:
        names = ", ".join(case.get("name") for case in failed)
        first = failed[0].find("failure")
        first = failed[0].find("error") if first is None else first
        told = first.get("message") or first.get("error_msg") or first.text or ""
        raise BenchFailure(f"{what}: {len(failed)} of {len(cases)} tests failed: {names}\n"
                           f"{told.strip()}\n{tail}\n{where}")
    passed = [case for case in cases if case.find("skipped") is None]
    if not passed:
        raise BenchFailure(f"{what}: no test was run\n{tail}\n{where}")
    if reason:
        raise BenchFailure(f"{what}: {reason}\n{tail}\n{where}")
    return len(passed)


def build(runner, block, source, simulator, waves):
    """Directory with the compiled simulation of ``source``; made by one process, once."""
    arguments = list(BUILD_ARGS[simulator])
    sources = {f"{block}.v": source}
    if waves and simulator == "verilator":
        arguments += ["--trace-fst"]
    elif waves:
        # The runner's own dumping module is SystemVerilog.
        sources["dump.v"] = (f'module dump;\ninitial begin\n  $dumpfile("{block}.fst");\n'
                             f"  $dumpvars(0, {block});\nend\nendmodule\n")
        arguments += ["-s", "dump"]
    key = json.dumps([sources, simulator, arguments, sys.prefix, version("cocotb"),
                      version("verilator"), shutil.which("iverilog")])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    directory = ROOT / "build" / "bench" / f"{block}-{simulator}-{digest}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    done = directory / "done"
    with open(directory.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            for name, text in sources.items():
                (directory / name).write_text(text)
            log = directory / "build.log"
            try:
                runner.build(sources=[directory / name for name in sources], hdl_toplevel=block,
                             build_dir=directory, build_args=arguments, always=True,
                             timescale=("1ns", "1ps"), log_file=log,
                             waves=waves and simulator == "verilator")
            except (RuntimeError, SystemExit) as error:
                tail = "\n".join(log.read_text().splitlines()[-40:]) if log.exists() else ""
                raise BenchFailure(f"{block} does not build on {simulator}: {error}\n{tail}\n"
                                   f"full log: {log}") from error
            done.touch()
    runner.build_dir = directory
    return directory


@contextmanager
def runner_environment():
    """Hide variables by which the runner would overrule its arguments; limit the time."""
    saved = dict(os.environ)
    for name in ("WAVES", "GUI", "COCOTB_TEST_FILTER"):
        os.environ.pop(name, None)
    os.environ["SIM_CMD_PREFIX"] = f"timeout -k 10 {TIME_LIMIT}"
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(saved)
