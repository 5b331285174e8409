"""SDRAM chips: times in cycles, what is refused, and that a broken time is noticed."""

import pytest

from fpga.memory.sdram import Sdram
from fpga.memory.sdram_chip import CHIPS
from hw.config import Config
from verif.runner import BenchFailure, run_bench
from verif.test_sdram import component


CONFIG = Config(name="test", slices=1, data_bits=32)


def test_times_are_rounded_up_to_cycles():
    chip = CHIPS["ulx3s"]
    assert chip.bytes == 32 << 20 and CHIPS["colorlight"].bytes == 8 << 20
    assert [chip.cycles("rcd", hz) for hz in (40_000_000, 50_000_000, 51_000_000)] == [1, 1, 2]
    assert chip.cycles("ras", 100_000_000) == 5 and chip.cycles("wr", 10_000_000) == 1


@pytest.mark.parametrize("chip, data_bits, clock_hz, sentence", [
    ("ulx3s", 32, 133_000_000, "latency of 2 allows up to 100 MHz, not 133 MHz"),
    ("ulx3s", 32, 5_000_000, "refreshed each 7.8125 us, which takes a clock of at least 8.2 MHz"),
    ("ulx3s", 256, 50_000_000, "a configuration with data_bits from 16 to 128, not 256"),
])
def test_what_an_sdram_cannot_do_is_refused(chip, data_bits, clock_hz, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sdram(Config(name="test", slices=data_bits // 128 or 1, data_bits=data_bits), CHIPS[chip],
              clock_hz)


@pytest.mark.parametrize("name, value, told", [
    ("rcd", 10, "rcd: 10 ns instead of 20"),
    ("rp", 10, "rp: 10 ns instead of 20"),
    ("ras", 10, "ras: 40 ns instead of 45"),
    ("rrd", 10, "rrd: 10 ns instead of 15"),
    ("rfc", 50, "rfc: 50 ns instead of 66"),
    ("wr", 10, "wr: 10 ns instead of 15"),
    ("refresh", 20_000, "refresh: one is missing"),
    ("power_up", 9_000, r"power_up: 90\d\d ns instead of 10000"),
    ("cas", 3, "mode"),
])
def test_a_time_that_is_broken_fails(name, value, told, tmp_path):
    """A controller for another chip, before the one that it has."""
    config = dict(board="ulx3s", mhz=100, wrong={name: value})
    with pytest.raises(BenchFailure, match=told):
        run_bench("sdram", component(config), "icarus", config=config, run_dir=tmp_path,
                  test_module="verif.test_sdram", testcase="each_master_reads_what_it_wrote")


def test_the_same_bench_passes_with_the_right_times(tmp_path):
    config = dict(board="ulx3s", mhz=100)
    assert run_bench("sdram", component(config), "icarus", config=config, run_dir=tmp_path,
                     test_module="verif.test_sdram",
                     testcase="each_master_reads_what_it_wrote") > 0
