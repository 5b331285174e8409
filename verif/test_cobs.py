"""Stuffing and unstuffing of frames, against the reference."""

import cocotb
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from fpga.link.cobs_decoder import UNSTUFFED, CobsDecoder
from fpga.link.cobs_encoder import PLAIN, CobsEncoder
from verif.bench import Bench, current
from verif.reference.link import cobs, uncobs
from verif.streams import never, sometimes


CONFIGS = {"only": {}}


class Cobs(wiring.Component):
    """Encoder and decoder side by side."""

    frames: In(stream.Signature(PLAIN))
    stuffed: Out(stream.Signature(8))
    line: In(stream.Signature(8))
    plain: Out(stream.Signature(UNSTUFFED))

    def elaborate(self, platform):
        m = Module()
        m.submodules.encoder = encoder = CobsEncoder()
        m.submodules.decoder = decoder = CobsDecoder()
        connect(m, flipped(self.frames), encoder.i)
        connect(m, encoder.o, flipped(self.stuffed))
        m.d.comb += [decoder.i.payload.eq(self.line.payload), decoder.i.valid.eq(self.line.valid),
                     self.line.ready.eq(1), self.plain.valid.eq(decoder.o.valid),
                     self.plain.payload.eq(decoder.o.payload)]
        return m


def component(config):
    return Cobs()


config = current(CONFIGS)


def frames(rng):
    """Frames whose zeros are at every place that matters; then random ones."""
    yield from (b"\0", b"\1", b"\0\0", b"\0\1", b"\1\0", bytes(300), b"\1\0\0\2\0")
    for size in (253, 254, 255, 507, 508, 509):
        yield from (b"\1" * size, b"\1" * size + b"\0", b"\1" * size + b"\0\2",
                    b"\0" + b"\2" * size)
    for _ in range(20):
        data = rng.integers(0, 256, rng.integers(1, 300))
        yield bytes(int(byte) for byte in data * (rng.random(len(data)) < 0.9))


def events(stuffed):
    """What the decoder says of a frame that it gets whole."""
    return [*({"byte": byte, "end": 0, "damaged": 0} for byte in uncobs(stuffed)),
            {"end": 1, "damaged": 0, "byte": 0}]


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1)], o_pause=[never, lambda: sometimes(2)])
async def frames_are_stuffed(dut, pause, o_pause):
    async with Bench(dut) as bench:
        driver = bench.drive("frames", PLAIN, pause=pause())
        board = bench.expect("stuffed", pause=o_pause())
        for data in frames(bench.rng):
            board.expect_all([*cobs(data), 0])
            await driver.send_all({"byte": byte, "last": n == len(data) - 1}
                                  for n, byte in enumerate(data))


@cocotb.test()
@cocotb.parametrize(pause=[never, lambda: sometimes(1)])
async def frames_are_unstuffed(dut, pause):
    async with Bench(dut) as bench:
        driver, board = bench.drive("line", pause=pause()), bench.expect("plain", UNSTUFFED)
        for data in frames(bench.rng):
            assert uncobs(cobs(data)) == data
            board.expect_all(events(cobs(data)))
            await driver.send_all([*cobs(data), 0])


@cocotb.test()
async def cut_frames_are_damaged_and_spoil_no_other(dut):
    async with Bench(dut) as bench:
        driver, board = bench.drive("line"), bench.expect("plain", UNSTUFFED)
        for data in frames(bench.rng):
            stuffed = cobs(data)
            cut = stuffed[:int(bench.rng.integers(1, len(stuffed)))] if len(stuffed) > 1 else b"\2"
            if uncobs(cut) is not None:     # the cut was between two groups
                continue
            board.expect_all([*events(cut + bytes(missing(cut) * [1]))[:-1 - missing(cut)],
                              {"byte": 0, "end": 1, "damaged": 1}])
            await driver.send_all([*cut, 0])
            board.expect_all(events(stuffed))
            await driver.send_all([*stuffed, 0])


def missing(cut):
    """Bytes that the last group of a cut frame lacks."""
    at = 0
    while at < len(cut):
        at += cut[at]
    return at - len(cut)
