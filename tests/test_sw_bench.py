"""What benchmarks report: bytes that must move, sizes of multipliers, and ratios of formats."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from hw.config import load as load_config
from hw.formats import FORMATS
from sw.bench import formats, memory
from sw.bench.decode import Decode
from sw.bench.matrices import bits_a_weight, matrix_bytes, useful_bytes
from sw.cli.bench import BENCHES
from sw.compile.layers import quantise_model
from sw.train.evaluate import CASES
from sw.train.losses import BEGIN, BUNDLED, END, Case, read_losses, tables, write_losses
from tests.models import random_model


@pytest.mark.parametrize("format, size, wanted", [
    ("int8", 64, 64 + 2 * 2), ("int4", 64, 32 + 2 * 2), ("mxint8", 64, 64 + 2),
    ("mxfp4", 64, 32 + 2), ("mxfp6", 64, 48 + 2), ("mxfp8e5m2", 64, 64 + 2),
    ("nvfp4", 64, 32 + 4), ("int4g128", 256, 128 + 2 * 2), ("int8row", 64, 64 + 2),
    ("int16", 64, 128 + 2),
    # Groups that are not full have a whole scale.
    ("int8", 40, 40 + 2 * 2), ("int4g128", 129, 64.5 + 2 * 2), ("nvfp4", 40, 20 + 3),
])
def test_bytes_of_a_row_have_its_scales(format, size, wanted):
    factor = 4 if FORMATS[format].factor else 0
    assert matrix_bytes((10, size), format) == 10 * wanted + factor


def test_useful_bytes_are_those_of_each_matrix_in_its_own_format():
    model = random_model(dim=48, hidden=80, n_layers=1, n_heads=3, n_kv_heads=1, vocabulary=107)
    quantised = quantise_model(model, "int8")
    (layer,) = quantised.layers
    layer = replace(layer, down=quantise_model(model, "nvfp4").layers[0].down)
    mixed = replace(quantised, layers=(layer,))
    weights = (80 + 48 + 160) * (48 + 4)
    down = 48 * (80 / 2 + 5) + 4
    # Keys and values of a head of 16, with a scale each; the embedding and two gains are FP32.
    entry, rows = 2 * 16 + 2, 3 * 4 * 48
    assert useful_bytes(model, mixed, 3, 2) == (
        3 * (weights + down) + 2 * 107 * (48 + 4) + 6 * entry + 3 * (entry + rows))
    count = (80 + 48 + 160) * 48 + 48 * 80 + 107 * 48
    assert bits_a_weight(model, mixed) == pytest.approx(
        8 * (weights + down + 107 * (48 + 4)) / count)


def test_sizes_are_for_each_multiplication(monkeypatch):
    """Of the cell, the accumulator, and an eighth of the decoder; a cell has 16 pairs."""
    gates = {"Cell": 3200, "Accumulator": 1600, "ElementDecoder": 640}
    cells = {"LUT": 800, "DSP": 16}
    machines = []

    def convert(part, top):
        machines.append(part.config)
        return type(part).__name__

    monkeypatch.setattr(formats, "convert", convert)
    monkeypatch.setattr(formats, "gate_equivalents", lambda text, top, folder: gates[text])
    monkeypatch.setattr(formats, "area", lambda *_: [SimpleNamespace(cells=cells)])
    for name, products in (("int4", 32), ("mxfp6", 16), ("int8", 16), ("int16", 8)):
        assert formats.multiplier_sizes(load_config("sim"), name) == {
            "gates_cell": 3200 // products, "gates_all": 4880 // products,
            "lut_pair": 50, "dsp_pair": 1}
        assert machines[-1].formats == (name,) and machines[-1].technology == "ecp5"
        assert machines[-2].technology == "generic"


def test_ratios_are_to_the_baseline(monkeypatch, capsys):
    def decode(model, machine, prompt, tokens, name):
        assert machine == everything
        cycles = {"int16": 2000, "int8": 1010, "int4": 530}[name]
        outcome = SimpleNamespace(positions=10, counters={"cycles": 10 * cycles})
        return Decode(SimpleNamespace(model=quantise_model(model, name)), outcome, name != "int4",
                      10 * 16 * {"int16": 1900, "int8": 1000, "int4": 500}[name])

    everything = replace(load_config("formats"), formats=("int8", "int4", "int16"))
    monkeypatch.setattr(formats, "load", lambda _: everything)
    monkeypatch.setattr(formats, "decode", decode)
    monkeypatch.setattr(formats, "read_losses", lambda: {Case("int8", "int8"): 1.25})
    monkeypatch.setattr(formats, "multiplier_sizes", lambda config, name: {"gates_cell": 7})
    base, int8, int4 = formats.rows(replace(everything, name="sim", formats=("int8",)))
    assert (base.case, base.cycles, base.limit) == ("int16", 2000, 1900)
    assert "quotient" not in base.more and base.more["gates_cell"] == 7
    assert int8.more["faster"] == 2000 / 1010 and int8.more["fewer_bytes"] == 1.9
    assert int8.more["quotient"] == pytest.approx(2000 / 1010 / 1.9)
    assert int8.more["bits"] == pytest.approx(8.5)
    assert int8.more["loss"] == 1.25
    assert int8.correct and not int4.correct
    said = capsys.readouterr()
    assert "int4, format 3 of 3" in said.err and not said.out


def test_what_is_pinned_is_measured_between_two_runs(monkeypatch):
    """Of cycles that both runs have nothing is left, and each choice has its own limit."""
    def decode(model, machine, prompt, tokens, format, *, latency, pin):
        assert (machine, format, latency) == (load_config("sim"), "int4", 60)
        each = dict(cycles=1000, busy=400, memory=300, dependency=250, other=50, g_words=7,
                    w_words=0 if "weights" in pin else 800, d_words=10, hits=80)
        counters = {name: 12345 + tokens * value for name, value in each.items()}
        outcome = SimpleNamespace(positions=len(prompt) + tokens, counters=counters)
        return Decode(None, outcome, not pin or tokens == memory.LONG, 0.0)

    monkeypatch.setattr(memory, "decode", decode)
    rows = list(memory.rows(load_config("sim")))
    assert [row.case.split(", ")[1] for row in rows] == [
        "pin none", "pin kv", "pin weights", "pin weights,kv"]
    assert {row.cycles for row in rows} == {1000}
    assert [row.limit for row in rows] == [817, 817, 700, 700]
    assert [row.more["words"] for row in rows] == [817, 817, 17, 17]
    assert [row.correct for row in rows] == [True, False, False, False]


def test_limits_of_what_is_pinned():
    """Words, beats of the cache and of words, and what the array multiplies and waits for."""
    none = dict.fromkeys(("w_words", "d_words", "g_words", "hits", "busy", "dependency", "other"),
                         0)
    sim = load_config("sim")
    assert memory.limit({**none, "w_words": 40, "d_words": 2, "g_words": 3, "busy": 44}, sim) == 45
    assert memory.limit({**none, "w_words": 40, "d_words": 2, "hits": 30, "busy": 50}, sim) == 51
    assert memory.limit({**none, "hits": 59, "busy": 50, "dependency": 8, "other": 2}, sim) == 60


@pytest.mark.parametrize("name", ["formats", "memory"])
def test_the_bench_is_offered(name):
    assert name in BENCHES


def test_losses_are_those_of_the_model_card():
    losses = read_losses()
    assert list(losses) == CASES
    card = (BUNDLED / "MODEL_CARD.md").read_text()
    assert "\n".join([BEGIN, "", *tables(losses), "", END]) in card


def test_losses_that_are_written_are_read_again(tmp_path):
    (tmp_path / "MODEL_CARD.md").write_text(f"Before\n\n{BEGIN}\nold\n{END}\n\nAfter\n")
    losses = {Case("float32", "float32"): 1.5, Case("int4", "float32"): 2.00004,
              Case("int4", "e4m3"): 2.125, Case("int8", "int8", "up", "e5m2"): 3.0}
    write_losses(losses, tmp_path)
    assert read_losses(tmp_path) == losses | {Case("int4", "float32"): 2.0}
    assert (tmp_path / "MODEL_CARD.md").read_text().splitlines() == [
        "Before", "", BEGIN, "",
        "| weights | float32 activations | int8 activations | e4m3 activations |",
        "|---|---:|---:|---:|",
        "| float32 | 1.5000 |  |  |", "| int4 | 2.0000 |  | 2.1250 |", "",
        "| weights | activations | scale rule | keys and values | loss |",
        "|---|---|---|---|---:|", "| int8 | int8 | up | e5m2 | 3.0000 |", "", END, "", "After"]
