"""Whole machines after synthesis: on the cells a model gives the bits of the reference."""

import json
import re
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from hw.config import load
from sim.device import SimulatedDevice
from sw.cli import application
from sw.cli.run import compile_choice
from sw.errors import UserError
from sw.netlist import netlist_of
from sw.runtime.session import Session
from sw.runtime.verify import Verifier
from tests.models import random_model, save, save_tokenizer


# Synthesis of a whole machine takes minutes.
pytestmark = pytest.mark.nightly

#: The machine with the fewest cells.
SMALL = "small"
MODEL = random_model(dim=32, hidden=32, n_heads=2, n_kv_heads=1, n_layers=1, vocabulary=300,
                     context=100)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with its tokenizer."""
    folder = tmp_path_factory.mktemp("small")
    save(MODEL, folder / "model.bin")
    save_tokenizer(folder / "tokenizer.bin", 300, [" ", "a", "b", "ab", " ab"])
    return folder / "model.bin"


def tokamac(*arguments):
    return CliRunner().invoke(application(), ["netlist", *map(str, arguments)])


def test_a_model_on_the_cells_of_a_machine(model):
    result = tokamac(model, "--config", SMALL, "--format", "int8", "--prompt", "ab", "--tokens", 2)
    assert result.exit_code == 0, result.output
    assert re.search(r"^small: [\d,]+ cells in \d+ s: [\d,]+ LUT4, .*DP16KD", result.output,
                     re.MULTILINE)
    assert re.search(r"^[\d,]+ cycles in \d+ s", result.output, re.MULTILINE)
    assert "2 x 300 logits and" in result.output
    assert "equal the reference, bit for bit" in result.output


def with_a_wrong_table(netlist, folder):
    """The netlist with other contents in a block RAM that nothing writes."""
    design = json.loads(netlist.path.read_text())
    rom = next(cell for cell in design["modules"]["tokamac"]["cells"].values()
               if cell["type"] == "DP16KD" and cell["connections"]["CLKA"] == ["0"])
    for name, bits in rom["parameters"].items():
        if name.startswith("INITVAL_") and "1" in bits:
            rom["parameters"][name] = bits[1:] + "0"
    path = folder / "wrong.json"
    path.write_text(json.dumps(design))
    return replace(netlist, path=path)


def test_a_wrong_initial_value_is_found(model, tmp_path, monkeypatch):
    right = netlist_of(load(SMALL))
    wrong = with_a_wrong_table(right, tmp_path)
    monkeypatch.setattr("sw.netlist.netlist_of", lambda *_, **__: wrong)
    result = tokamac(model, "--config", SMALL, "--format", "int8", "--prompt", "ab", "--tokens", 2)
    assert isinstance(result.exception, UserError)
    assert str(result.exception).startswith(
        f"the netlist of small, {wrong.path}, does not do what the machine does: ")
    assert "reference" in str(result.exception)


@pytest.mark.parametrize("preset", ["nano", "ulx3s"])
def test_the_bundled_model_on_the_cells_of_a_preset(preset):
    """The whole machine is mapped, as for a bitstream; cycles are those of the Verilog."""
    compiled, _ = compile_choice("bundled", ["Once"], 2, preset, None, check=True)
    netlist = netlist_of(compiled.config)

    def counters(device):
        with device:
            session, verifier = Session(device, compiled), Verifier(device, compiled)
            assert len(list(session.tokens())) == 2
            verifier.verify(session.outcome)
            return session.outcome.counters

    memory = dict(memory_bytes=compiled.memory.bytes)
    verilog = counters(SimulatedDevice(netlist.config, **memory))
    assert counters(netlist.device(**memory)) == verilog
