"""The runner, drivers and monitors pass good hardware, and catch each kind of fault."""

import pytest
from amaranth.hdl import Const, signed, unsigned
from amaranth.lib import data, enum

from tests.example_bench import CONFIGS, PAYLOAD, Square, component
from verif.blocks import blocks, cases
from verif.packing import pack, unpack
from verif.runner import SIMULATORS, BenchFailure, run_bench
from verif.streams import bursts, never, sometimes


def run(fault, simulator, run_dir, **options):
    config = CONFIGS[fault]
    return run_bench("example", component(config), simulator, config=config,
                     test_module="tests.example_bench", run_dir=run_dir, **options)


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_good_hardware_passes_and_leaves_waves(simulator, tmp_path):
    assert run("good", simulator, tmp_path, waves=True) == 7
    assert (tmp_path / "example.fst").stat().st_size > 1000
    saved = (tmp_path / "example.gtkw").read_text().splitlines()
    assert "example.i__payload[12:0]" in saved and "-status" in saved
    assert "example.status__ready" not in saved


@pytest.mark.parametrize("fault, message", [
    ("wrong",     "o: transfer 3 is"),
    ("changes",   "o.payload changed while it was stalled"),
    ("withdraws", "o.valid fell before the transfer"),
    ("loses",     "is missing|expected"),
    ("repeats",   "o: unexpected transfer 30"),
    ("hangs",     "o: nothing came for 100 cycles"),
    ("late",      "squares_come_two_cycles_later"),
])
def test_faulty_hardware_fails(fault, message, tmp_path):
    with pytest.raises(BenchFailure, match=message):
        run(fault, "icarus", tmp_path)


def test_failure_outside_pytest_is_an_error_too(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    with pytest.raises(BenchFailure, match="tests failed: stream_arrives_whole"):
        run("wrong", "icarus", tmp_path)


def test_no_test_is_a_failure(tmp_path):
    with pytest.raises(BenchFailure, match="no test was run|without results"):
        run("good", "icarus", tmp_path, testcase="there_is_no_such_test")


def test_bench_that_cannot_be_imported_is_a_failure(tmp_path):
    with pytest.raises(BenchFailure, match="there_is_no_such_bench"):
        run_bench("example", Square("good"), "icarus", test_module="there_is_no_such_bench",
                  run_dir=tmp_path)


def test_seed_is_shown_and_repeats(tmp_path):
    run("good", "icarus", tmp_path, seed=7)
    assert "Seeding Python random module with 7" in (tmp_path / "simulation.log").read_text()


def test_unknown_simulator():
    with pytest.raises(ValueError, match="one of verilator, icarus, not 'vcs'"):
        run_bench("example", None, "vcs")


class Colour(enum.Enum, shape=2):
    RED  = 1
    BLUE = 2


NESTED = data.StructLayout({
    "lanes":  data.ArrayLayout(signed(5), 3),
    "colour": Colour,
    "inner":  data.StructLayout({"a": unsigned(7), "b": signed(1)}),
})


def test_packing_is_amaranths():
    value = {"lanes": [-16, 15, -1], "colour": Colour.BLUE, "inner": {"a": 100, "b": -1}}
    bits = pack(NESTED, value)
    assert bits == Const.cast(NESTED.const(value)).value
    assert unpack(NESTED, bits) == value
    assert pack(signed(4), -1) == 15 and unpack(signed(4), 15) == -1


@pytest.mark.parametrize("shape, value", [
    (signed(4), 8), (signed(4), -9), (unsigned(3), -1), (unsigned(3), 8),
    (data.ArrayLayout(1, 3), [0, 1]),
])
def test_packing_refuses_what_does_not_fit(shape, value):
    with pytest.raises(ValueError, match="does not fit|takes 3 elements, not 2"):
        pack(shape, value)


def test_packing_refuses_unknown_fields():
    with pytest.raises(KeyError, match="first"):
        pack(PAYLOAD, {"first": 1})


def test_pauses_are_repeatable():
    assert not any(next(never()) for _ in range(5))
    for make in (lambda: sometimes(4, 0.5), lambda: bursts(4)):
        first, second = make(), make()
        taken = [next(first) for _ in range(200)]
        assert taken == [next(second) for _ in range(200)] and 20 < sum(taken) < 180


def test_every_bench_says_what_it_tests():
    for block in blocks():
        assert cases(block), f"{block} has no configuration"
