"""Two masters at one on-chip memory."""

import cocotb
from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, connect, flipped
from cocotb.triggers import RisingEdge

from fpga.memory.join import Join
from fpga.memory.ram import Ram
from hw.config import Config
from hw.memory.axi import DECERR, axi4
from verif.axi_master import AxiMaster, traffic
from verif.bench import Bench, current
from verif.streams import never, sometimes


CONFIGS = {"narrow": dict(data_bits=32), "wide": dict(data_bits=128)}

SIMULATORS = {"narrow": ("icarus",), "wide": ("verilator",)}

BYTES = 1 << 13


class JoinedRam(wiring.Component):
    """:class:`Join` before :class:`Ram`."""

    def __init__(self, config):
        self.config = config
        super().__init__({"masters": In(axi4(config)).array(2)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.join = join = Join(self.config)
        m.submodules.ram = ram = Ram(self.config, BYTES)
        connect(m, join.slave, ram.bus)
        for outer, inner in zip(self.masters, join.masters):
            connect(m, flipped(outer), inner)
        return m


def configuration(values):
    return Config(name="test", slices=1, **values)


def component(config):
    return JoinedRam(configuration(config))


config = configuration(current(CONFIGS))
WORD, BURST = config.data_bits // 8, config.burst


def masters(dut, pause=None):
    return [AxiMaster(dut, f"masters__{n}__", WORD,
                      pause=None if pause is None else lambda kind, n=n: pause(f"{kind}{n}"))
            for n in range(2)]


@cocotb.test()
@cocotb.parametrize(pause=[lambda name: never(), lambda name: sometimes(name, 0.5)])
async def each_master_reads_what_it_wrote(dut, pause):
    """Each in its own half, both at once; with bursts of all lengths and with strobes."""
    async with Bench(dut):
        half = BYTES // 2 // WORD
        both = [cocotb.start_soon(traffic(master, WORD, BURST, n * half, half, seed=n))
                for n, master in enumerate(masters(dut, pause))]
        for one in both:
            await one


@cocotb.test()
async def a_word_passes_in_each_cycle(dut):
    """Of one master that reads and writes, and of two that read in turn."""
    async with Bench(dut) as bench:
        first, second = masters(dut)
        jobs = [(first.read(n * BURST * WORD, BURST), first.write(4096 + n * WORD, [n]))
                for n in range(20)]
        await cycles(dut, [task for pair in jobs for task in pair], 20 * BURST + 12)
        await cycles(dut, [master.read(0, BURST) for _ in range(10)
                           for master in (first, second)], 20 * BURST + 12)
        await bench.cycles(5)
        await cycles(dut, [first.write(4096 + n * WORD, [n]) for n in range(30)], 30 + 12)


async def cycles(dut, work, most):
    """Carry out all of some work, in up to so many cycles."""
    tasks, count = [cocotb.start_soon(one) for one in work], 0
    while not all(task.done() for task in tasks):
        await RisingEdge(dut.clk)
        count += 1
    assert count <= most, f"{count} cycles instead of {most}"


@cocotb.test()
async def none_waits_for_ever(dut):
    """A master that asks for a word now and then gets it while the other one is busy."""
    async with Bench(dut):
        first, second = masters(dut)
        busy = [cocotb.start_soon(first.read(n % 16 * BURST * WORD, BURST)) for n in range(60)]
        for n in range(8):
            await cycles(dut, [second.read(n * WORD, 1), second.write(4096 + n * WORD, [n])],
                         4 * BURST + 10)
        assert not busy[-1].done()
        for task in busy:
            await task


@cocotb.test()
async def words_beyond_the_end_are_errors(dut):
    async with Bench(dut):
        first, second = masters(dut)
        assert await first.write(0, [7, 8]) == 0
        for master in (first, second):
            assert await master.write(BYTES, [1]) == DECERR
            assert await master.write(1 << 31, [1]) == DECERR
            assert await master.write(BYTES - WORD, [5, 6]) == DECERR
            words = await master.read(BYTES - WORD, 3)
            assert words[0] == (5, 0) and [code for _, code in words[1:]] == [DECERR] * 2
        assert await first.read(0, 2) == [(7, 0), (8, 0)]
