"""Both directions of the serial line, against the reference's levels."""

import cocotb
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from cocotb.triggers import FallingEdge, Timer
from cocotb.utils import get_sim_time

from fpga.link.bit_timer import FRACTION, bit_period
from fpga.link.uart_receiver import UartReceiver
from fpga.link.uart_transmitter import UartTransmitter
from verif.bench import Bench, current
from verif.reference.uart import levels
from verif.streams import sometimes


CONFIGS = {
    "four_cycles":  dict(clock_hz=100_000, baud=25_000),
    "three_mbaud":  dict(clock_hz=25_000_000, baud=3_000_000),
    "slow":         dict(clock_hz=50_000_000, baud=1_000_000),
}

SIMULATORS = {"three_mbaud": ("verilator", "icarus"), "four_cycles": ("icarus",),
              "slow": ("icarus",)}

#: Nanoseconds of a clock cycle in benches.
CYCLE = 10


class Uart(wiring.Component):
    """Receiver and transmitter side by side."""

    rx: In(1)
    o: Out(stream.Signature(8))
    i: In(stream.Signature(8))
    tx: Out(1)

    def __init__(self, period):
        self.period = period
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.period)
        m.submodules.transmitter = transmitter = UartTransmitter(self.period)
        connect(m, flipped(self.i), transmitter.i)
        m.d.comb += [self.o.payload.eq(receiver.o.payload), self.o.valid.eq(receiver.o.valid),
                     receiver.rx.eq(self.rx),
                     self.tx.eq(transmitter.tx)]
        return m


def component(config):
    return Uart(bit_period(**config))


config = current(CONFIGS)
PERIOD = bit_period(**config)
NANOSECONDS = PERIOD * CYCLE / FRACTION


async def send(dut, data, stretch=1.0):
    """Bytes on ``rx``; times are counted from the beginning, so that rounding does not grow."""
    ideal = done = 0.0
    for level, time in levels(data, NANOSECONDS * stretch):
        dut.rx.value = level
        ideal += float(time)
        step = round(ideal - done, 3)
        await Timer(step, unit="ns", round_mode="round")
        done += step


async def ready(dut):
    dut.rx.value = 1
    await Timer(5 * NANOSECONDS + 3.21, unit="ns", round_mode="round")


@cocotb.test()
@cocotb.parametrize(stretch=[1.0, 0.975, 1.025])
async def bytes_arrive_at_once_and_a_little_too_fast_or_slow(dut, stretch):
    async with Bench(dut) as bench:
        await ready(dut)
        data = [0, 255, 0x55, 0xAA, *map(int, bench.rng.integers(0, 256, 60))]
        bench.expect("o").expect_all(data)
        await send(dut, data, stretch)
        await Timer(NANOSECONDS, unit="ns", round_mode="round")


@cocotb.test()
async def short_pulses_are_not_bytes(dut):
    async with Bench(dut) as bench:
        await ready(dut)
        board = bench.expect("o")
        for part in (0.05, 0.2, 0.24):
            dut.rx.value = 0
            await Timer(NANOSECONDS * part, unit="ns", round_mode="round")
            dut.rx.value = 1
            await Timer(3 * NANOSECONDS, unit="ns", round_mode="round")
        board.expect(0x42)
        await send(dut, [0x42])


@cocotb.test()
async def a_byte_without_stop_bit_is_lost_and_the_next_one_is_not(dut):
    async with Bench(dut) as bench:
        await ready(dut)
        bench.expect("o").expect_all([1, 2])
        await send(dut, [1])
        dut.rx.value = 0            # a break
        await Timer(25 * NANOSECONDS, unit="ns", round_mode="round")
        dut.rx.value = 1
        await Timer(2 * NANOSECONDS, unit="ns", round_mode="round")
        await send(dut, [2])


@cocotb.test()
@cocotb.parametrize(pause=[None, lambda: sometimes(1, 0.99)])
async def bytes_leave_as_the_reference_says(dut, pause):
    """Each bit is sampled in its middle, from the edge of the start bit on."""
    async with Bench(dut) as bench:
        dut.rx.value = 1
        data = [0, 255, 0x55, 0xAA, *map(int, bench.rng.integers(0, 256, 30))]
        driver = bench.drive("i", pause=pause and pause()).start(data)
        begins = []
        for byte in data:
            await FallingEdge(dut.tx)
            begins.append(get_sim_time("ns"))
            wait = NANOSECONDS / 2
            for level, time in levels([byte], NANOSECONDS):
                await Timer(wait, unit="ns", round_mode="round")
                assert int(dut.tx.value) == level, f"a bit of byte {byte:#x} is not {level}"
                wait = float(time)
        await driver
        if pause is None:
            each = (begins[-1] - begins[0]) / (len(data) - 1) / NANOSECONDS
            assert 10 <= each <= 10 + 3 * FRACTION / PERIOD, f"{each:.2f} bits a byte"
