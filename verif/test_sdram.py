"""SDRAM controllers between AXI masters and a chip that checks its times."""

from dataclasses import replace

import cocotb
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from cocotb.triggers import RisingEdge

from fpga.memory.join import Join
from fpga.memory.sdram import Sdram, sdram_pins
from fpga.memory.sdram_chip import CHIPS
from hw.config import Config
from hw.memory.axi import DECERR, axi4
from verif.axi_master import AxiMaster, traffic
from verif.bench import Bench, current
from verif.sdram_chip import SdramModel
from verif.streams import sometimes


CONFIGS = {
    "ulx3s_50":      dict(board="ulx3s", mhz=50),
    "ulx3s_80":      dict(board="ulx3s", mhz=80),
    "colorlight_60": dict(board="colorlight", mhz=60),
    "wide_100":      dict(board="ulx3s", mhz=100, data_bits=128),
    "pads_80":       dict(board="ulx3s", mhz=80, trip=3),
}

SIMULATORS = {"ulx3s_50": ("icarus",), "ulx3s_80": ("verilator",),
              "colorlight_60": ("verilator",), "wide_100": ("icarus",),
              "pads_80": ("icarus",)}


class SdramSystem(wiring.Component):
    """:class:`Join` before :class:`Sdram`, and registers at the pins that take ``trip`` cycles."""

    def __init__(self, config, chip, clock_hz, trip=0):
        self.config, self.chip, self.trip = config, chip, trip
        self.sdram = Sdram(config, chip, clock_hz, trip)
        super().__init__({"masters": In(axi4(config)).array(2), **sdram_pins(chip)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.join = join = Join(self.config)
        m.submodules.sdram = sdram = self.sdram
        connect(m, join.slave, sdram.bus)
        for outer, inner in zip(self.masters, join.masters):
            connect(m, flipped(outer), inner)
        for name, member in sdram_pins(self.chip).items():
            inner, outer = getattr(sdram, name), getattr(self, name)
            if member.flow is In:
                for n in range(1, self.trip):
                    late = Signal.like(outer, name=f"{name}_{n}")
                    m.d.sync += late.eq(outer)
                    outer = late
                m.d.comb += inner.eq(outer)
            else:
                m.d["sync" if self.trip else "comb"] += outer.eq(inner)
        return m


def parts(config):
    """Configuration, chip and clock; the chip is ready sooner than real ones."""
    chip = replace(CHIPS[config["board"]], power_up=10_000)
    return (Config(name="test", slices=1, data_bits=config.get("data_bits", 32)), chip,
            config["mhz"] * 1_000_000)


def component(config):
    made, chip, clock_hz = parts(config)
    # The controller of another chip, of which ``wrong`` says one time.
    return SdramSystem(made, replace(chip, **config.get("wrong", {})), clock_hz,
                       config.get("trip", 0))


chosen = current(CONFIGS)
config, chip, clock_hz = parts(chosen)
WORD, BURST = config.data_bits // 8, config.burst


def system(dut, pause=None):
    """The chip and two masters."""
    model = SdramModel(dut, chip, 1e9 / clock_hz)
    return model, [AxiMaster(dut, f"masters__{n}__", WORD, pause=None if pause is None
                             else lambda kind, n=n: pause(f"{kind}{n}")) for n in range(2)]


async def work(dut, pause=None):
    """Both masters in rows and banks that they share, also in those of each other."""
    async with Bench(dut):
        _, masters = system(dut, pause)
        rows = 4 * (chip.pins // 8 << chip.bank_bits + chip.column_bits) // WORD
        both = [cocotb.start_soon(traffic(master, WORD, BURST, n * rows, rows, seed=n, span=24,
                                          rounds=12)) for n, master in enumerate(masters)]
        for one in both:
            await one


@cocotb.test()
async def each_master_reads_what_it_wrote(dut):
    await work(dut)


@cocotb.test()
async def each_does_when_channels_pause(dut):
    await work(dut, lambda name: sometimes(name, 0.5))


@cocotb.test()
async def sequential_reads_use_the_pins(dut):
    """At least 95 % of all cycles carry data, refreshes included."""
    async with Bench(dut) as bench:
        model, (master, _) = system(dut)
        await master.read(0, 1)
        words = 6 * round(chip.refresh * clock_hz / 1e9) * chip.pins // 8 // WORD // BURST * BURST
        await bench.cycles(50)
        before, refreshes, cycles = model.accesses, model.refreshes, 0
        tasks = [cocotb.start_soon(master.read(at * WORD, BURST)) for at in range(0, words, BURST)]
        while not tasks[-1].done():
            await RisingEdge(dut.clk)
            cycles += 1
        beats = model.accesses - before
        assert beats == words * WORD * 8 // chip.pins
        share = beats / cycles
        dut._log.info(f"{beats} beats in {cycles} cycles: {share:.2%}; "
                      f"{model.refreshes - refreshes} refreshes")
        assert model.refreshes - refreshes >= 5
        assert share >= 0.95, f"{share:.2%} of the pins' peak"


@cocotb.test()
async def words_beyond_the_end_are_errors(dut):
    async with Bench(dut):
        _, masters = system(dut)
        assert await masters[0].write(0, [7, 8]) == 0
        for master in masters:
            assert await master.write(chip.bytes, [1]) == DECERR
            assert await master.write(1 << 31, [1, 1]) == DECERR
            assert await master.write(chip.bytes - WORD, [5]) == 0
            words = await master.read(chip.bytes - WORD, 3)
            assert words[0] == (5, 0) and [code for _, code in words[1:]] == [DECERR] * 2
        assert await masters[0].read(0, 2) == [(7, 0), (8, 0)]


@cocotb.test()
async def the_first_word_takes_as_long_as_is_said(dut):
    """In a bank without a row, in an open row, and in another row's place."""
    async with Bench(dut) as bench:
        model, (master, _) = system(dut)
        row = chip.pins // 8 << chip.column_bits
        rcd, rp = (chip.cycles(name, clock_hz) for name in ("rcd", "rp"))
        # Two cycles of the master before, one behind, and one of the join.
        least = 4 + chip.cas + config.data_bits // chip.pins + chosen.get("trip", 0) + 4
        await master.read(0, 1)
        refreshed = model.refreshes
        while model.refreshes == refreshed:
            await RisingEdge(dut.clk)
        for address, more in ((row, rcd - 1), (row, 0), (row << chip.bank_bits | row, rp + rcd)):
            await bench.cycles(20)
            task, cycles = cocotb.start_soon(master.read(address, 1)), 0
            while not task.done():
                await RisingEdge(dut.clk)
                cycles += 1
            assert cycles == least + more, f"{address:#x}: {cycles} cycles"
