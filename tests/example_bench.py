"""A stream buffer and a two-stage pipeline, each with faults to choose, and their cocotb bench.

They test the drivers, monitors and the runner; no machine contains them.
"""

import cocotb
from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from verif.bench import Bench, current, pipeline
from verif.streams import bursts, never, sometimes


__all__ = ["PAYLOAD", "CONFIGS", "Buffer", "Square", "component"]


PAYLOAD = data.StructLayout({"value": signed(12), "last": 1})

#: The fault that a configuration puts into the hardware; ``good`` has none.
CONFIGS = {fault: dict(fault=fault) for fault in (
    "good", "wrong", "changes", "withdraws", "loses", "repeats", "hangs", "late")}


class Buffer(wiring.Component):
    """One register between two streams."""

    i: In(stream.Signature(PAYLOAD))
    o: Out(stream.Signature(PAYLOAD))

    def __init__(self, fault):
        self.fault = fault
        super().__init__()

    def elaborate(self, platform):
        m = Module()
        count = Signal(8)
        again = Signal()
        m.d.comb += self.i.ready.eq((~self.o.valid | self.o.ready) & ~again)
        with m.If(self.i.ready):
            m.d.sync += self.o.valid.eq(self.i.valid)
            m.d.sync += self.o.p.eq(self.i.p)
            with m.If(self.i.valid):
                m.d.sync += count.eq(count + 1)
        third = count == 3
        match self.fault:
            case "wrong":
                with m.If(self.i.ready & third):
                    m.d.sync += self.o.p.value.eq(self.i.p.value + 1)
            case "changes":
                with m.If(self.o.valid & ~self.o.ready):
                    m.d.sync += self.o.p.value.eq(self.o.p.value + 1)
            case "withdraws":
                with m.If(self.o.valid & ~self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
            case "loses":
                with m.If(self.i.ready & third):
                    m.d.sync += self.o.valid.eq(0)
            case "repeats":
                with m.If(self.o.valid & self.o.ready & self.o.p.last & ~again):
                    m.d.sync += [self.o.valid.eq(1), self.o.p.eq(self.o.p), again.eq(1)]
                with m.Elif(again):
                    m.d.sync += again.eq(~self.o.ready)
            case "hangs":
                with m.If(third):
                    m.d.comb += self.i.ready.eq(0)
                    m.d.sync += self.o.valid.eq(0)
        return m


class Square(wiring.Component):
    """Buffer, and beside it the square of a number two cycles later."""

    def __init__(self, fault):
        self.fault = fault
        super().__init__({
            "i":      In(stream.Signature(PAYLOAD)),
            "o":      Out(stream.Signature(PAYLOAD)),
            # A stream that is always valid and always ready has these wires.
            "status": Out(wiring.Signature({"payload": Out(4)})),
            "en":     In(1),
            "number": In(signed(8)),
            "square": Out(signed(16)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.buffer = buffer = Buffer(self.fault)
        wiring.connect(m, wiring.flipped(self.i), buffer.i)
        wiring.connect(m, wiring.flipped(self.o), buffer.o)
        m.d.comb += self.status.payload.eq(5)
        s1_number = Signal.like(self.number)
        with m.If(self.en):
            m.d.sync += s1_number.eq(self.number)
            m.d.sync += self.square.eq(s1_number * s1_number)
        if self.fault == "late":
            s3_square = Signal.like(self.square)
            with m.If(self.en):
                m.d.sync += s3_square.eq(s1_number * s1_number)
                m.d.sync += self.square.eq(s3_square)
        return m


def component(config):
    return Square(**config)


config = current(CONFIGS)


@cocotb.test()
@cocotb.parametrize(i_pause=[never, lambda: sometimes(1)], o_pause=[never, lambda: bursts(2)])
async def stream_arrives_whole(dut, i_pause, o_pause):
    """Every payload leaves once, in order."""
    async with Bench(dut, patience=100) as bench:
        driver = bench.drive("i", PAYLOAD, pause=i_pause())
        board = bench.expect("o", PAYLOAD, pause=o_pause())
        values = [{"value": value, "last": 0} for value in bench.rng.integers(-2048, 2048, 30)]
        values[-1]["last"] = 1
        board.expect_all(values)
        task = driver.start(values)
        if config["fault"] != "hangs":
            await task
            assert driver.sent == 30


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(3)])
async def squares_come_two_cycles_later(dut, pause):
    """The pipeline advances only while it is enabled."""
    async with Bench(dut) as bench:
        numbers = bench.rng.integers(-128, 128, 40)
        rows = await pipeline(dut, {"number": (signed(8), numbers)}, {"square": signed(16)}, 2,
                              enable="en", pause=pause())
        assert rows["square"] == (numbers.astype(int) ** 2).tolist()


@cocotb.test()
async def status_needs_no_handshake(dut):
    """A stream without valid and ready gives a payload each cycle."""
    async with Bench(dut) as bench:
        board = bench.expect("status", 4)
        board.expect_all([5] * 100)
        while board.matched < 90:
            await bench.cycles(1)
        board.expect_all([5] * 200)
        # More would always come: this stream never ends.
        bench.boards.clear()
