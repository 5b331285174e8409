"""The emitted machine is one plain Verilog file that common tools read, the same at each time."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from hw.config import load
from hw.matmul.cell import Cell
from hw.matmul.scaler import BlockScaler
from hw.top import Tokamac
from hw.verilog import convert
from sw.toolenv import tool_environment


READERS = {
    "verilator": ["verilator", "--lint-only", "-Wno-lint", "-Wno-style", "--top-module",
                  "tokamac"],
    "icarus": ["iverilog", "-g2005", "-o", "/dev/null"],
    "yosys": [sys.executable, "-c", "import sys; from pyosys import libyosys as ys; "
              "ys.run_pass('read_verilog ' + sys.argv[1], ys.Design())"],
}


@pytest.fixture(scope="module", params=["nano", "ulx3s"])
def machine(request, tmp_path_factory):
    text = convert(Tokamac(load(request.param)), "tokamac")
    path = tmp_path_factory.mktemp(request.param) / "tokamac.v"
    path.write_text(text)
    return request.param, path


@pytest.mark.parametrize("reader", READERS)
def test_tools_read_it(machine, reader):
    _, path = machine
    environment = tool_environment()
    command = READERS[reader]
    assert shutil.which(command[0], path=environment["PATH"]), f"{command[0]} is missing"
    told = subprocess.run([*command, str(path)], env=environment, capture_output=True, text=True)
    assert told.returncode == 0, told.stdout + told.stderr


def test_the_same_configuration_gives_the_same_bytes(machine):
    name, path = machine
    assert convert(Tokamac(load(name)), "tokamac") == path.read_text()


def test_ports_have_the_usual_names(machine):
    _, path = machine
    text = path.read_text()
    header = text[text.index("\nmodule tokamac("):]
    header = header[:header.index(");")]
    for port in ("clk", "rst", "irq", "running", "fault", "m_axi0_araddr", "m_axi0_wstrb",
                 "m_axi0_bready", "s_axil_awaddr", "s_axil_rdata"):
        assert port in header


def test_no_wire_has_the_name_of_a_bit(machine):
    _, path = machine
    text = path.read_text()
    assert re.findall(r"\\\S*\[\d+\]", text) == []
    assert re.search(r"\\\S+\.0 ;", text)


@pytest.mark.parametrize("formats, shifts, multiplies", [
    (("int8", "int4"), False, True),       # integers have no shifters
    (("mxfp4", "mxfp6"), False, False),    # nor have narrow floats; powers of two need no factors
    (("mxfp8",), True, False),
    (("fp8", "int16"), True, True),
], ids=str)
def test_a_machine_pays_only_for_its_formats(formats, shifts, multiplies):
    config = replace(load("nano"), formats=formats)
    cell = convert(Cell(config), "cell")
    assert (" << " in cell or "$shift" in cell) == shifts
    assert (" * " in convert(BlockScaler(config), "scaler")) == multiplies
